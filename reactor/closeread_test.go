// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"io"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// deaf is a handler that fails the test if it hears anything after its first input, but for Close.
func deaf(t testing.TB, first func(c *reactor.Conn, in []byte) (int, error)) *hooks {
	heard := make(map[*reactor.Conn]bool) // on one loop
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			if heard[c] {
				t.Errorf("Data after CloseRead: %d bytes", len(in))
				return len(in), nil
			}
			heard[c] = true
			return first(c, in)
		},
		eof: func(*reactor.Conn, []byte) error {
			t.Error("EOF after CloseRead")
			return nil
		},
	}
}

// After CloseRead nothing is delivered, the end included, whatever the handler left unconsumed; the peer is not held
// up, and an answer to who sends on arrives whole, without a reset.
func TestCloseRead(t *testing.T) {
	t.Parallel()
	reply := pattern(300 << 10)
	tests := []struct {
		name     string
		consumed int
		before   func(c *reactor.Conn)
	}{
		{"everything consumed", 5, func(*reactor.Conn) {}},
		{"nothing consumed", 0, func(*reactor.Conn) {}},
		{"more needed", 0, func(c *reactor.Conn) { c.Need(100) }},
		{"paused", 0, (*reactor.Conn).Pause},
		{"paused and resumed", 0, func(c *reactor.Conn) { c.Pause(); c.Resume() }},
		{"held", 0, func(c *reactor.Conn) { c.Hold() }},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				s, w := tr.watched(t, deaf(t, func(c *reactor.Conn, _ []byte) (int, error) {
					test.before(c)
					for range 2 {
						if err := c.CloseRead(); err != nil {
							t.Errorf("CloseRead: %v", err)
						}
					}
					return test.consumed, nil
				}), nil)
				cl := s.dial()
				cl.send("hello")
				ref := receive(t, w.refs)
				for range 16 { // 4 MiB: more than the kernel holds for who does not read
					cl.send(string(pattern(256 << 10)))
				}
				do(t, ref, func(c *reactor.Conn) {
					require.True(t, c.OwnsNothing())
					_, err := c.Write(reply)
					require.NoError(t, err)
					require.NoError(t, c.CloseWrite())
				})
				cl.send(string(pattern(1 << 20)))
				require.Empty(t, w.ends, "closed before the peer ended")
				cl.expectStream(reply)
				cl.send("still taken")
				require.NoError(t, cl.CloseWrite())
				require.Equal(t, io.EOF, receive(t, w.ends))
				require.Equal(t, -1, descriptor(t, ref))
			})
		}
	})
}

// The peer's end alone closes nothing after CloseRead: the answer may be still to come.
func TestCloseReadThroughThePeersEnd(t *testing.T) {
	t.Parallel()
	ends := map[string]func(c *reactor.Conn) error{"Close": (*reactor.Conn).Close, "CloseWrite": (*reactor.Conn).CloseWrite}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, end := range ends {
			s, w := tr.watched(t, deaf(t, nil), nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			do(t, ref, func(c *reactor.Conn) { require.NoError(t, c.CloseRead()) })
			cl.send("unheard")
			require.NoError(t, cl.CloseWrite())
			eventually(t, "the end is read", func() (read bool) {
				do(t, ref, func(c *reactor.Conn) { read = c.PeerEnded() })
				return read
			})
			_, err := ref.Write([]byte("late"))
			require.NoError(t, err)
			cl.expect("late")
			require.Empty(t, w.ends)
			do(t, ref, func(c *reactor.Conn) { require.NoError(t, end(c)) })
			cl.expectEOF()
			if err := receive(t, w.ends); name == "Close" {
				require.NoError(t, err)
			} else {
				require.Equal(t, io.EOF, err)
			}
			require.Equal(t, -1, descriptor(t, ref), "lingers for a peer that has ended")
		}
	})
}

// CloseRead in the middle of what one read brought stops the frames that follow.
func TestCloseReadStopsFrames(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		frames := 0
		s, w := tr.watched(t, reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			frames++
			if frames == 2 {
				require.NoError(t, c.CloseRead())
				return c.CloseWrite()
			}
			return nil
		})), nil)
		cl := s.dial()
		cl.send("one\ntwo\nthree\nfour\nfi")
		cl.expectEOF()
		cl.send("ve\nsix\n")
		require.NoError(t, cl.CloseWrite())
		require.Equal(t, io.EOF, receive(t, w.ends))
		require.Equal(t, 2, frames)
	})
}

// Output above the high-water mark, which stops reading, does not stop discarding: a peer that writes everything before
// it reads gets through.
func TestCloseReadWhileBlocked(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, deaf(t, nil))
		s := tr.serve(t, w.narrowed, nil)
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		written := stall(t, ref, 300<<10)
		do(t, ref, func(c *reactor.Conn) {
			require.True(t, c.Blocked())
			require.NoError(t, c.CloseRead())
			require.NoError(t, c.CloseWrite())
		})
		cl.send(string(morePattern()))
		require.NoError(t, cl.CloseWrite())
		require.Len(t, cl.rest(), written)
		require.Equal(t, io.EOF, receive(t, w.ends))
	})
}

// Shutdown does not wait for who only discards.
func TestShutdownAfterCloseRead(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, deaf(t, nil), nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) { require.NoError(t, c.CloseRead()) })
		cl.send("unheard")
		down := s.shutdown()
		cl.expectEOF()
		require.NoError(t, cl.Close())
		require.NoError(t, receive(t, down))
		require.NoError(t, receive(t, w.ends))
	})
}
