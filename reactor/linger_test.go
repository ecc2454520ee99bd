// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What follows DRAINING: the writing half is shut down, Close called, and the descriptor lingers until the peer has
// ended too, so that what the peer still sends does not reset the connection and destroy a reply on its way.

// lingering serves connections that write n bytes and close on their first byte. No linger ends by itself, for no time
// passes.
func lingering(t *testing.T, tr transport, n int) (*server, *witness) {
	s, w, _ := tr.timed(t, sayAndClose(n), nil)
	return s, w
}

// sayAndClose writes n bytes and closes on the first byte.
func sayAndClose(n int) reactor.Handler {
	return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(pattern(n))
		return len(in), errors.Join(err, c.Close())
	})
}

// unread waits until nothing that the peer sent waits in the socket.
func unread(t testing.TB, ref reactor.Ref) {
	eventually(t, "all is read", func() (empty bool) {
		do1(t, ref, func(c *reactor.Conn, _ error) {
			_, _, err := unix.Recvfrom(c.FD(), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			empty = err != nil
		})
		return empty
	})
}

// descriptor returns the number of the connection's descriptor, -1 when it was given back.
func descriptor(t testing.TB, ref reactor.Ref) (fd int) {
	do1(t, ref, func(c *reactor.Conn, _ error) { fd = c.FD() })
	return fd
}

// DRAINING --flushed--> SHUT_WR, Close(c, nil) --> LINGERING --the peer's FIN--> closed. What the peer sends
// meanwhile harms nobody.
func TestPeerThatKeepsSendingGetsTheWholeReply(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := lingering(t, tr, size)
		for range 10 {
			cl := s.dial()
			cl.send("request")
			ref := receive(t, w.refs)
			want, got := pattern(size), 0
			for chunk := make([]byte, size/32); got < size; {
				n, err := io.ReadFull(cl, chunk)
				require.NoError(t, err, "after %d bytes", got)
				requireSame(t, want[got:got+n], chunk)
				got += n
				cl.send("a kilobyte in all, nobody wants!")
			}
			cl.expectEOF()
			require.NoError(t, receive(t, w.ends))
			cl.send("still taken")
			require.GreaterOrEqual(t, descriptor(t, ref), 0, "not lingering")
			require.NoError(t, cl.Close())
			eventually(t, "the descriptor is given back", func() bool { return descriptor(t, ref) < 0 })
		}
	})
}

// What the peer had sent before the close, unread here, does not turn the close into a reset either.
func TestUnreadInputDoesNotResetTheReply(t *testing.T) {
	t.Parallel()
	const size = 600 << 10
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		for range 10 {
			cl := s.dial()
			ref := receive(t, w.refs)
			do(t, ref, (*reactor.Conn).Pause)
			cl.send(string(pattern(30 << 10)))
			do(t, ref, func(c *reactor.Conn) {
				if _, err := c.Write(pattern(size)); err != nil {
					t.Errorf("Write: %v", err)
				}
				_ = c.Close()
			})
			cl.expectStream(pattern(size))
			require.NoError(t, receive(t, w.ends))
		}
	})
}

// Lingering is skipped once the peer's FIN was read: the descriptor is given back before another turn.
func TestNoLingerAfterThePeersEnd(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, reactor.DataFunc(echo), nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		cl.send("hello")
		require.NoError(t, cl.CloseWrite())
		require.Equal(t, io.EOF, receive(t, w.ends))
		require.Equal(t, -1, descriptor(t, ref))
		require.Equal(t, "hello", cl.rest())
	})
}

// A handler that crashes in Close has no bearing on what its peer sends.
func TestLingerAfterACrash(t *testing.T) {
	t.Parallel()
	for _, how := range crashes {
		forEachNetwork(t, func(t *testing.T, tr transport) {
			s, w, _ := tr.timed(t, &hooks{ // no time passes
				data:  func(c *reactor.Conn, in []byte) (int, error) { return len(in), c.Close() },
				close: func(*reactor.Conn, error) { how.crash() },
			}, nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			release := block(t, ref)
			cl.send(string(pattern(100 << 10))) // more than one read takes
			release()
			require.NoError(t, receive(t, w.ends))
			unread(t, ref)
			require.GreaterOrEqual(t, descriptor(t, ref), 0, "not lingering")
			require.NoError(t, cl.CloseWrite())
			eventually(t, "the descriptor is given back", func() bool { return descriptor(t, ref) < 0 })
			cl.expectEOF()
		})
	}
}

// A connection that failed does not linger.
func TestNoLingerAfterAFailure(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, (*reactor.Conn).Abort)
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrAborted)
		require.Equal(t, -1, descriptor(t, ref))
		cl.expectGone()
	})
}

// LINGERING ends after 64 KiB: a peer that floods is not read for ever. It can send no more, and what it reads still ends
// with an end.
func TestLingerIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, _ := tr.timed(t, sayAndClose(5), nil) // no time passes: it is not the silence that ends it
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ref := receive(t, w.refs)
		cl.read(5)
		sent, err := 0, error(nil)
		for chunk, n := make([]byte, 4<<10), 0; err == nil && sent < 64<<20; sent += n {
			n, err = cl.Write(chunk)
		}
		require.Truef(t, isGone(err), "%d bytes went through, then %v", sent, err)
		require.GreaterOrEqual(t, sent, 60<<10)
		cl.expectEOF()
		require.Equal(t, -1, descriptor(t, ref))
	})
}

// LINGERING ends after two seconds of silence.
func TestLingerIsBoundedInSilence(t *testing.T) {
	t.Parallel()
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		s, w, clock := tr.timed(t, sayAndClose(5), nil)
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ref := receive(t, w.refs)
		cl.read(5)
		clock.Advance(1900 * time.Millisecond)
		cl.send("not silent yet")
		unread(t, ref)
		clock.Advance(2*time.Second - 1)
		require.GreaterOrEqual(t, descriptor(t, ref), 0, "early")
		clock.Advance(lateness(2 * time.Second))
		require.Equal(t, -1, descriptor(t, ref), "late")
	})
}

// LINGERING ends after ten seconds in all: a peer that drips is not read for ever.
func TestLingerIsBoundedInTime(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, clock := tr.timed(t, sayAndClose(5), nil)
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ref := receive(t, w.refs)
		for range 9 {
			clock.Advance(time.Second)
			cl.send("x")
			unread(t, ref)
		}
		clock.Advance(time.Second - 1)
		require.GreaterOrEqual(t, descriptor(t, ref), 0, "early")
		clock.Advance(lateness(2 * time.Second))
		require.Equal(t, -1, descriptor(t, ref), "late")
	})
}

// A peer that resets a lingering connection ends it at once.
func TestLingerEndsWithAReset(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, _ := tr.timed(t, sayAndClose(5), nil) // no time passes
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ref := receive(t, w.refs)
		require.GreaterOrEqual(t, descriptor(t, ref), 0)
		cl.reset()
		eventually(t, "the descriptor is given back", func() bool { return descriptor(t, ref) < 0 })
		require.Empty(t, w.ends, "Close called twice")
	})
}

// A lingering connection is no connection any more: nobody finds it.
func TestLingeringIsNotFound(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := lingering(t, tr, 5)
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ref := receive(t, w.refs)
		require.GreaterOrEqual(t, descriptor(t, ref), 0)
		_, byID := s.ByID(ref.ID())
		_, byTuple := s.Lookup(ref.Tuple())
		require.False(t, byID || byTuple)
		for range s.Conns() {
			t.Error("found among the open ones")
		}
	})
}

// A server that only aborts never waits in close: no positive SO_LINGER is ever set.
func TestCloseNeverBlocksTheLoop(t *testing.T) {
	t.Parallel()
	s, w := transport{"tcp", 1}.watched(t, &hooks{}, nil)
	full, other := s.dial(), s.dial()
	ref := receive(t, w.refs)
	otherRef := receive(t, w.refs)
	if ref.Tuple().Remote.String() != full.LocalAddr().String() {
		ref, otherRef = otherRef, ref
	}
	stall(t, ref, 1<<20)
	socket := -1 // which shows what close was to do
	do(t, ref, func(c *reactor.Conn) {
		var err error
		socket, err = unix.FcntlInt(uintptr(c.FD()), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		c.Abort()
	})
	do(t, otherRef, func(c *reactor.Conn) { _, _ = c.Write([]byte("alive")) })
	other.expect("alive")
	linger, err := unix.GetsockoptLinger(socket, unix.SOL_SOCKET, unix.SO_LINGER)
	require.NoError(t, err)
	require.NoError(t, unix.Close(socket))
	require.NotZero(t, linger.Onoff, "it is to be reset")
	require.Zero(t, linger.Linger)
	_, err = io.Copy(io.Discard, full)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
