// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && race

package reactor_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// In race builds every method of what never leaves its loop panics elsewhere, but for those that only tell what never
// changes.
func TestMethodsAreForTheirLoop(t *testing.T) {
	t.Parallel()
	conns, sockets, timers := make(chan *reactor.Conn, 1), make(chan *reactor.PacketConn, 1), make(chan *reactor.Timer, 1)
	s := transport{"tcp", 1}.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
		conns <- c
		timers <- c.AfterFunc(patience, func(*reactor.Conn) {})
		return &hooks{}, nil
	}, nil)
	s.dial()
	require.NoError(t, s.DialPacket("udp", "127.0.0.1:9", func(p *reactor.PacketConn, _ error) (reactor.PacketHandler, error) {
		sockets <- p
		return reactor.PacketFunc(func(*reactor.PacketConn, *reactor.Datagram) {}), nil
	}, nil))

	helpers := []string{"FD", "PeerEnded", "LoopIndex", "PretendConnected", "PendingTimers", "OwnsNothing", "Held"} // export_test.go's
	for _, test := range []struct {
		value     any
		unchanged []string
		panics    string
	}{
		{receive(t, conns), []string{"ID", "Tuple", "Ref"}, "reactor: method of Conn called outside its loop; use Conn.Ref and Ref.Do"},
		{receive(t, sockets), []string{"LocalAddr", "RemoteAddr", "Ref"}, "reactor: method of PacketConn called outside its loop"},
		{receive(t, timers), nil, "reactor: method of Timer called outside its loop"},
	} {
		for m, method := range reflect.ValueOf(test.value).Methods() {
			if slices.Contains(helpers, m.Name) {
				continue
			}
			var args []reflect.Value
			for in := range method.Type().Ins() {
				arg := reflect.New(in).Elem()
				if arg.CanInt() {
					arg.SetInt(1) // the size of a buffer, say, which is looked at first
				}
				args = append(args, arg)
			}
			if call := func() { method.Call(args) }; slices.Contains(test.unchanged, m.Name) {
				require.NotPanics(t, call, "%T.%s", test.value, m.Name)
			} else {
				require.PanicsWithValue(t, test.panics, call, "%T.%s", test.value, m.Name)
			}
		}
	}
}
