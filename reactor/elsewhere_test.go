// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// What a connection offers to work that is done for it elsewhere: Context, Suspend, CloseWithError.

// A connection's context is done as soon as nothing can be written, with the cause, however it closes, and at once if
// it is asked for later.
func TestContextEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	tests := []struct {
		name  string
		close func(c *reactor.Conn, cl client)
		cause error
	}{
		{"Close", func(c *reactor.Conn, _ client) { _ = c.Close() }, net.ErrClosed},
		{"CloseWithError", func(c *reactor.Conn, _ client) { _ = c.CloseWithError(errEnough) }, errEnough},
		{"CloseWithError, then Close", func(c *reactor.Conn, _ client) { _ = c.CloseWithError(errEnough); _ = c.Close() }, errEnough},
		{"Abort", func(c *reactor.Conn, _ client) { c.Abort() }, reactor.ErrAborted},
		{"peer's end", func(_ *reactor.Conn, cl client) { _ = cl.CloseWrite() }, io.EOF},
		{"peer's end after CloseWrite", func(c *reactor.Conn, cl client) { _ = c.CloseWrite(); _ = cl.CloseWrite() }, io.EOF},
		{"error for a held one after the peer's end", func(c *reactor.Conn, cl client) {
			release := c.Hold()
			_ = cl.CloseWrite()
			go func() {
				for range 3 {
					turn := make(chan struct{})
					_ = c.Ref().Do(func(*reactor.Conn, error) { close(turn) })
					<-turn
				}
				_ = c.Ref().Do(func(c *reactor.Conn, _ error) { _ = c.CloseWithError(errEnough) })
				release()
			}()
		}, errEnough},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			s, w := tr.watched(t, &hooks{}, nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			var ctx context.Context
			do(t, ref, func(c *reactor.Conn) {
				ctx = c.Context()
				if ctx.Err() != nil || c.Context() != ctx {
					t.Errorf("%s: not one context, or done at once", test.name)
				}
				test.close(c, cl)
			})
			<-ctx.Done()
			require.Equal(t, test.cause, context.Cause(ctx), test.name)
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			if err := receive(t, w.ends); test.cause == net.ErrClosed {
				require.NoError(t, err, test.name)
			} else {
				require.Equal(t, test.cause, err, test.name)
			}
			_ = cl.Close()
		}
	})
}

// Asked for when the connection has closed, or in an accept func that refuses, the context is done or soon is.
func TestContextOfTheClosed(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		contexts := make(chan context.Context, 3)
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			if c.ID()>>24%2 == 1 {
				contexts <- c.Context()
				return nil, io.EOF
			}
			return &hooks{
				data:  func(c *reactor.Conn, in []byte) (int, error) { return len(in), c.Close() },
				close: func(c *reactor.Conn, _ error) { contexts <- c.Context() },
			}, nil
		}, nil)
		s.dial()
		require.Equal(t, net.ErrClosed, cause(receive(t, contexts)))
		s.dial().send("x")
		require.Equal(t, net.ErrClosed, cause(receive(t, contexts)))
	})
}

// cause waits for ctx and says why it is done.
func cause(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Delivery goes on when every suspension has ended and the handler's own Pause has, in any order, and not before.
func TestSuspend(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for order := range 6 {
			frames := make(chan string, 100)
			s, w := tr.watched(t, reactor.Frames(codec.Fixed(2), reactor.FrameFunc(func(_ *reactor.Conn, p []byte) error {
				frames <- string(p)
				return nil
			})), nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			var first, second func()
			do(t, ref, func(c *reactor.Conn) {
				first, second = c.Suspend(), c.Suspend()
				c.Pause()
			})
			steps := []func(c *reactor.Conn){
				func(*reactor.Conn) { first(); first() },
				func(*reactor.Conn) { second() },
				func(c *reactor.Conn) { c.Resume(); c.Resume() },
			}
			steps[0], steps[order%3] = steps[order%3], steps[0]
			if order > 2 {
				steps[1], steps[2] = steps[2], steps[1]
			}
			cl.send("0011")
			for _, step := range steps {
				for range 3 {
					do(t, ref, func(*reactor.Conn) {})
				}
				require.Empty(t, frames, "delivered while stopped")
				do(t, ref, step)
			}
			require.Equal(t, "00", receive(t, frames))
			require.Equal(t, "11", receive(t, frames))
			require.NoError(t, cl.CloseWrite())
			require.Equal(t, io.EOF, receive(t, w.ends))
			do1(t, ref, func(*reactor.Conn, error) { first(); second() }) // nothing, now
		}
	})
}

// Shutdown waits for a suspended connection in the middle of its input, as for a paused one.
func TestShutdownWaitsForTheSuspended(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		var resume func()
		suspended := make(chan struct{})
		s, w := tr.watched(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
			if resume == nil {
				resume = c.Suspend()
				close(suspended)
				return 0, nil
			}
			return echo(c, in)
		}}, nil)
		cl := s.dial()
		cl.send("later")
		ref := receive(t, w.refs)
		receive(t, suspended)
		done := s.shutdown()
		s.draining()
		do(t, ref, func(*reactor.Conn) {})
		require.Empty(t, done)
		require.Empty(t, w.ends)
		do(t, ref, func(*reactor.Conn) { resume() })
		require.Equal(t, "later", cl.rest())
		require.NoError(t, receive(t, w.ends))
		_ = cl.Close()
		require.NoError(t, receive(t, done))
	})
}

// CloseWithError sends what was written, and its cause, the first, is what Close gets.
func TestCloseWithError(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		var again error
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) {
			_, _ = c.Write(pattern(1 << 20))
			for i := range 3 {
				again = errors.Join(again, c.CloseWithError(fmt.Errorf("cause %d", i)))
			}
		})
		require.NoError(t, again)
		cl.expectStream(pattern(1 << 20))
		require.EqualError(t, receive(t, w.ends), "cause 0")
		do1(t, ref, func(c *reactor.Conn, _ error) { again = c.CloseWithError(io.EOF) })
		require.Equal(t, net.ErrClosed, again)
	})
}
