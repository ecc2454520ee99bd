// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// MaxBuffered: what all connections together may hold.

// holder is a handler that keeps its input, or answers each byte with many that the client does not read.
func holder(output int) *hooks {
	return &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
		if output == 0 {
			return 0, nil
		}
		_, err := c.Write(make([]byte, output*len(in)))
		return len(in), err
	}}
}

// Past the limit the largest holder is closed with ErrBufferLimit; those that hold less live on and are read again.
func TestLargestHolderIsClosed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		output int // 0: what is held is input
		small  int // what each of the small ones sends
		large  int // what the large one sends in all
	}{
		"input":  {0, 20_000, 3 << 20},
		"output": {100_000, 1, 60},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for name, test := range tests {
			w := watch(t, holder(test.output))
			s := tr.serveWith(t, reactor.Options{MaxBuffered: 2 << 20}, w.narrowed, &reactor.StreamOptions{MaxInput: -1, HighWater: 8 << 20})
			echoes := s.listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
			innocent := dialTo(t, echoes.Addr())
			innocent.send("before")
			innocent.expect("before")
			for range 3 {
				cl := s.dialNarrow()
				_, err := cl.Write(make([]byte, test.small))
				require.NoError(t, err)
			}
			large := s.dialNarrow()
			go func() { _, _ = large.Write(make([]byte, test.large)) }()
			err := receive(t, w.ends)
			require.ErrorIs(t, err, reactor.ErrBufferLimit, name)
			var lost *reactor.UnsentError
			require.Equal(t, test.output > 0, errors.As(err, &lost), "%s: %v", name, err)
			large.expectGone()
			innocent.send("after")
			innocent.expect("after")
			require.Empty(t, w.ends, "%s: more than the largest was closed", name)
			require.Contains(t, s.Log.String(), "buffer limit")
		}
	})
}

// Many that hold a little each and do not move cannot stop the reading of the others: enough of them are closed for
// it to go on.
func TestReadingResumesAfterShedding(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const holders, each, limit = 60, 50 << 10, 2 << 20
		ends := make(chan error, holders)
		h := holder(0)
		h.close = func(_ *reactor.Conn, err error) { ends <- err }
		s := tr.serveWith(t, reactor.Options{MaxBuffered: limit}, shared(h), nil)
		echoes := s.listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
		innocent := dialTo(t, echoes.Addr())
		for range holders {
			cl := s.dial()
			_, _ = cl.Write(make([]byte, each))
		}
		require.ErrorIs(t, receive(t, ends), reactor.ErrBufferLimit)
		for range 10 {
			innocent.send("still served")
			innocent.expect("still served")
		}
		open := 0
		for range s.Conns() {
			open++
		}
		require.Greater(t, open, holders/8, "far more than needed was closed")
	})
}

// A connection that has input while reading pauses is read when there is room again, not only when more comes.
func TestParkedConnectionsAreReadAgain(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const limit = 1 << 20
		w := watch(t, holder(0))
		s := tr.serveWith(t, reactor.Options{MaxBuffered: limit}, w.accept, &reactor.StreamOptions{MaxInput: -1})
		echoes := s.listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
		var talkers []client
		for range 8 {
			talkers = append(talkers, dialTo(t, echoes.Addr()))
		}
		for round := range 20 {
			flooder := s.dial()
			go func() { _, _ = flooder.Write(make([]byte, 2*limit)) }()
			for receiving := true; receiving; {
				for _, cl := range talkers {
					cl.send("once")
				}
				for _, cl := range talkers {
					cl.expect("once")
				}
				receiving = len(w.ends) == 0
			}
			require.ErrorIs(t, receive(t, w.ends), reactor.ErrBufferLimit, "round %d", round)
			_ = flooder.Close()
		}
	})
}

// What a refused connection had written, and what a lost one held, is given back: the limit is not used up by
// connections that are gone.
func TestRefusedConnectionsGiveTheirBytesBack(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const limit = 8 << 20
		errNo := errors.New("no")
		s := tr.serveWith(t, reactor.Options{MaxBuffered: limit}, func(c *reactor.Conn) (reactor.Handler, error) {
			narrow(c)
			if _, err := c.Write(make([]byte, limit/4)); err != nil {
				t.Errorf("Write: %v", err)
			}
			return nil, errNo
		}, nil)
		aborts := s.listen(tr.network, tr.address(t), func(c *reactor.Conn) (reactor.Handler, error) {
			narrow(c)
			_, err := c.Write(make([]byte, limit/4))
			c.Abort()
			return &hooks{}, err
		}, nil)
		echoes := s.listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
		for range 8 {
			for _, lis := range []*reactor.Listener{s.Listener, aborts} {
				if conn, err := net.Dial(tr.network, lis.Addr().String()); err == nil { // the reset may be faster
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			}
			cl := dialTo(t, echoes.Addr())
			cl.send("served")
			cl.expect("served")
		}
		require.False(t, strings.Contains(s.Log.String(), "buffer limit"), s.Log.String())
	})
}
