// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// aPeer is a session or a dialled socket, and where its end is told.
type aPeer struct {
	reactor.Ref
	ends func() error
}

// forEachPeer runs body with a peer of each kind.
func forEachPeer(t *testing.T, body func(t *testing.T, s *server, p aPeer)) {
	t.Run("session", func(t *testing.T) {
		vs := newConversations()
		s := start(t, reactor.Options{Loops: 1})
		lis := s.listenPacket("udp", "127.0.0.1:0", reactor.Sessions(vs.begin, nil), nil)
		dialPacket(t, lis, "127.0.0.1").exchange("x", "1 x")
		body(t, s, aPeer{receive(t, vs.opened), func() error { return receive(t, vs.closed).err }})
	})
	t.Run("dialled", func(t *testing.T) {
		h := newDialedHooks()
		s := start(t, reactor.Options{Loops: 1})
		ref := dialed(t, s.Reactor, "udp", packetServer(t, "udp", "127.0.0.1:0").LocalAddr().String(), h, nil)
		body(t, s, aPeer{ref, func() error { return receive(t, h.closed) }})
	})
}

// Each method of a Conn that stands for a peer of datagrams does what it says in every state: none panics, and none
// reaches for a descriptor, of which the Conn has none.
func TestPeerIsNoStream(t *testing.T) {
	t.Parallel()
	none := func(f func(*reactor.Conn)) func(*reactor.Conn) error {
		return func(c *reactor.Conn) error { f(c); return nil }
	}
	methods := []struct {
		name         string
		call         func(c *reactor.Conn) error
		open, closed error // what the call answers
	}{
		{"CloseRead", (*reactor.Conn).CloseRead, errors.ErrUnsupported, net.ErrClosed},
		{"CloseWrite", (*reactor.Conn).CloseWrite, errors.ErrUnsupported, net.ErrClosed},
		{"Hijack", func(c *reactor.Conn) error { return hijack(c).err }, errors.ErrUnsupported, net.ErrClosed},
		{"SyscallConn", func(c *reactor.Conn) error { _, err := c.SyscallConn(); return err }, errors.ErrUnsupported, net.ErrClosed},
		{"SetDeadline", func(c *reactor.Conn) error { return c.SetDeadline(time.Now()) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetReadDeadline", func(c *reactor.Conn) error { return c.SetReadDeadline(time.Now()) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetWriteDeadline", func(c *reactor.Conn) error { return c.SetWriteDeadline(time.Now()) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetNoDelay", func(c *reactor.Conn) error { return c.SetNoDelay(true) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetKeepAlive", func(c *reactor.Conn) error { return c.SetKeepAlive(-1, 0, 0) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetUserTimeout", func(c *reactor.Conn) error { return c.SetUserTimeout(0) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetSendBuffer", func(c *reactor.Conn) error { return c.SetSendBuffer(1) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetRecvBuffer", func(c *reactor.Conn) error { return c.SetRecvBuffer(1) }, errors.ErrUnsupported, net.ErrClosed},
		{"SetIdleTimeout", none(func(c *reactor.Conn) { c.SetIdleTimeout(1) }), nil, nil},
		{"SetHandler", none(func(c *reactor.Conn) { c.SetHandler(reactor.DataFunc(echo)) }), nil, nil},
		{"Need", none(func(c *reactor.Conn) { c.Need(5) }), nil, nil},
		{"Pause", none((*reactor.Conn).Pause), nil, nil},
		{"Resume", none((*reactor.Conn).Resume), nil, nil},
		{"Suspend", none(func(c *reactor.Conn) { c.Suspend()() }), nil, nil},
		{"Hold", none(func(c *reactor.Conn) { c.Hold()() }), nil, nil},
		{"Write", func(c *reactor.Conn) error { _, err := c.Write([]byte("x")); return err }, nil, net.ErrClosed},
		{"Send", func(c *reactor.Conn) error { return c.Send(codec.Line(0), []byte("x")) }, nil, net.ErrClosed},
		{"WriteShared", func(c *reactor.Conn) error { return c.WriteShared(reactor.Shared([]byte("x"))) }, nil, net.ErrClosed},
		{"Context", func(c *reactor.Conn) error { return context.Cause(c.Context()) }, nil, net.ErrClosed},
		{"AfterFunc", none(func(c *reactor.Conn) { c.AfterFunc(time.Hour, func(*reactor.Conn) { t.Error("called") }).Stop() }), nil, nil},
		{"state", func(c *reactor.Conn) error {
			if c.Blocked() || c.Unsent() != 0 || c.ID() == 0 || c.Tuple() == (reactor.FourTuple{}) || c.PacketConn() == nil || c.Ref().ID() != c.ID() {
				return errors.New("not what it is")
			}
			return nil
		}, nil, nil},
	}
	answers := func(t *testing.T, c *reactor.Conn, closing, ended bool) {
		for _, m := range methods {
			want := m.open
			if ended || closing && want == nil {
				want = m.closed
			}
			if err := m.call(c); want == nil {
				require.NoError(t, err, m.name)
			} else {
				require.ErrorIs(t, err, want, m.name)
			}
		}
	}
	forEachPeer(t, func(t *testing.T, s *server, p aPeer) {
		g := s.NewGroup()
		do(t, p.Ref, func(c *reactor.Conn) {
			answers(t, c, false, false)
			require.Error(t, g.Add(c))
			g.Remove(c)
		})
		do(t, p.Ref, func(c *reactor.Conn) {
			answers(t, c, false, false)
			require.NoError(t, c.Close())
			require.ErrorIs(t, c.Close(), net.ErrClosed)
			answers(t, c, true, false)
		})
		require.NoError(t, p.ends())
		do1(t, p.Ref, func(c *reactor.Conn, err error) {
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, c.Close(), net.ErrClosed)
			c.Abort()
			answers(t, c, true, true)
		})
		require.NotContains(t, s.Log.String(), "panicked")
	})
}

// A peer ends with the cause that it was given, and its context with the same.
func TestPeerEndsWithItsCause(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	ways := []struct {
		name        string
		end         func(s *server, c *reactor.Conn)
		want, cause error
	}{
		{"Close", func(_ *server, c *reactor.Conn) { _ = c.Close() }, nil, net.ErrClosed},
		{"CloseWithError", func(_ *server, c *reactor.Conn) { _, _ = c.CloseWithError(broken), c.CloseWithError(nil) }, broken, broken},
		{"Abort", func(_ *server, c *reactor.Conn) { c.Abort() }, reactor.ErrAborted, reactor.ErrAborted},
		{"Shutdown", func(s *server, _ *reactor.Conn) { go s.Shutdown(context.Background()) }, reactor.ErrShutdown, reactor.ErrShutdown},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			forEachPeer(t, func(t *testing.T, s *server, p aPeer) {
				var ctx context.Context
				do(t, p.Ref, func(c *reactor.Conn) {
					ctx = c.Context()
					require.NoError(t, ctx.Err())
					way.end(s, c)
				})
				require.ErrorIs(t, p.ends(), way.want)
				receive(t, ctx.Done())
				require.ErrorIs(t, context.Cause(ctx), way.cause)
			})
		})
	}
}
