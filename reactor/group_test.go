// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// serveGroup starts a server all of whose connections are members of a group.
func (tr transport) serveGroup(t *testing.T, ro reactor.Options, o *reactor.StreamOptions, h reactor.Handler) (*server, *reactor.Group, <-chan reactor.Ref) {
	t.Helper()
	var group *reactor.Group
	ready := make(chan struct{})
	accept, refs := accepted(h)
	s := tr.serveWith(t, ro, func(c *reactor.Conn) (reactor.Handler, error) {
		<-ready
		if err := group.Add(c); err != nil {
			return nil, err
		}
		return accept(c)
	}, o)
	group = s.NewGroup()
	close(ready)
	return s, group, refs
}

// join connects n clients and waits until they are members.
func (s *server) join(n int, refs <-chan reactor.Ref) (clients []client, to []reactor.Ref) {
	s.t.Helper()
	for range n {
		clients = append(clients, s.dial())
		to = append(to, receive(s.t, refs))
	}
	return clients, to
}

// All members get all messages, those of many goroutines and of handlers in one order, which keeps that of each.
func TestGroupOrder(t *testing.T) {
	const members, senders, messages = 20, 8, 100
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, nil, &hooks{})
		clients, to := s.join(members, refs)
		require.Equal(t, members, group.Len())
		var wg sync.WaitGroup
		total := 0
		for sender := range senders {
			write := func() {
				for i := range messages {
					// Every few messages one of those that are not copied, and one that the socket may not take.
					text := fmt.Sprintf("%d %d%s\n", sender, i, strings.Repeat(".", []int{0, 0, 0, 600, 5000}[i%5]))
					if err := group.Write(reactor.Shared([]byte(text)), nil); err != nil {
						t.Error(err)
					}
				}
			}
			if sender%2 == 0 {
				wg.Go(write)
			} else {
				wg.Go(func() { do(t, to[sender], func(*reactor.Conn) { write() }) })
			}
			for i := range messages {
				total += len(fmt.Sprintf("%d %d\n", sender, i)) + []int{0, 0, 0, 600, 5000}[i%5]
			}
		}
		streams := make([]string, members)
		for i, cl := range clients {
			wg.Go(func() {
				got := make([]byte, total)
				if _, err := io.ReadFull(cl, got); err != nil {
					t.Error(err)
				}
				streams[i] = string(got)
			})
		}
		wg.Wait()
		next := make([]int, senders)
		for line := range strings.Lines(streams[0]) {
			var sender, i int
			_, err := fmt.Sscanf(line, "%d %d", &sender, &i)
			require.NoError(t, err)
			require.Equal(t, next[sender], i)
			next[sender]++
		}
		for i, stream := range streams {
			require.True(t, stream == streams[0], "member %d has another order than the first", i)
		}
		eventually(t, "nothing is buffered any more", func() bool { return s.Buffered() == 0 })
	})
}

// A message is one task of each loop, however many members there are.
func TestGroupNeedsOneTask(t *testing.T) {
	const members = 600 // more than have their turn at once
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{MailboxLimit: 3}, nil, &hooks{})
		clients, _ := s.join(members, refs)
		require.NoError(t, group.Write(reactor.Shared([]byte("to all")), nil))
		require.NoError(t, group.Write(reactor.Shared([]byte(", again")), nil))
		for _, cl := range clients {
			cl.expect("to all, again")
		}
	})
}

// A member that does not read never holds more than its limit and misses whole messages, of which missed is told; the
// others miss nothing.
func TestGroupSkipsTheSlow(t *testing.T) {
	const size, limit = 64 << 10, 256 << 10
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: limit}, &hooks{})
		clients, to := s.join(5, refs)
		slow, fast := clients[0], clients[1:]
		var missed []int
		n := 0
		for ; len(missed) < 10; n++ {
			m := fmt.Appendf(nil, "%08d%s", n, strings.Repeat("x", size-8))
			require.NoError(t, group.Write(reactor.Shared(m), func(c *reactor.Conn) {
				if c.Ref() != to[0] {
					t.Error("one who reads missed a message")
				}
				missed = append(missed, n)
			}))
			for _, cl := range fast {
				require.Equal(t, string(m), cl.read(size))
			}
			do(t, to[0], func(c *reactor.Conn) { require.LessOrEqual(t, c.Unsent(), limit) }) // and missed has been called
		}
		require.NoError(t, to[0].Close())
		rest := slow.rest()
		require.Equal(t, n-len(missed), len(rest)/size)
		for i, skip := 0, missed; i < n; i++ {
			if len(skip) > 0 && skip[0] == i {
				skip = skip[1:]
				continue
			}
			require.Equal(t, fmt.Sprintf("%08d", i), rest[:8])
			require.Equal(t, strings.Repeat("x", size-8), rest[8:size])
			rest = rest[size:]
		}
		require.Empty(t, rest)
	})
}

// Or it is dropped: that is the caller's choice.
func TestGroupDropsTheSlow(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 10)
		h := &hooks{close: func(_ *reactor.Conn, err error) { ends <- err }}
		s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: 256 << 10}, h)
		clients, _ := s.join(4, refs)
		m := reactor.Shared(pattern(64 << 10))
		for group.Len() == 4 {
			require.NoError(t, group.Write(m, (*reactor.Conn).Abort))
			for _, cl := range clients[1:] {
				cl.expectBytes(pattern(64 << 10))
			}
		}
		require.ErrorIs(t, receive(t, ends), reactor.ErrAborted)
		require.Equal(t, 3, group.Len())
		clients[0].expectReset()
		require.NoError(t, group.Write(reactor.Shared([]byte("on we go")), nil))
		for _, cl := range clients[1:] {
			cl.expect("on we go")
		}
	})
}

// Or it leaves: then it gets none of the messages that come behind the one it missed, however much room there is.
func TestGroupRemovesTheSlow(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: 256 << 10}, &hooks{})
		clients, to := s.join(1, refs)
		missed := make(chan struct{}, 10)
		do(t, to[0], func(c *reactor.Conn) {
			for c.Unsent() < 200<<10 {
				require.NoError(t, c.WriteShared(reactor.Shared(pattern(40<<10))))
			}
			for _, size := range []int{100 << 10, 1 << 10} { // only the second has room
				require.NoError(t, group.Write(reactor.Shared(make([]byte, size)), func(c *reactor.Conn) {
					group.Remove(c)
					missed <- struct{}{}
				}))
			}
		})
		receive(t, missed)
		require.Zero(t, group.Len())
		require.NoError(t, to[0].Close())
		require.Zero(t, len(clients[0].rest())%(40<<10), "it got the second message")
		require.Empty(t, missed)
	})
}

// A panic or Goexit in missed costs the connection that it was called with, and nobody a message.
func TestGroupMissedCrashes(t *testing.T) {
	for name, crash := range map[string]func(){
		"panic":  func() { panic("in missed") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, tr transport) {
				s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: 256 << 10}, &hooks{})
				clients, _ := s.join(7, refs)
				m := reactor.Shared(pattern(64 << 10))
				var crashes atomic.Int32
				for crashes.Load() < 3 { // the first, the fourth and the last do not read
					require.NoError(t, group.Write(m, func(*reactor.Conn) {
						crashes.Add(1)
						crash()
					}))
					for i, cl := range clients {
						if i%3 != 0 {
							cl.expectBytes(pattern(64 << 10))
						}
					}
				}
				eventually(t, "the crashed are gone", func() bool { return group.Len() == 4 })
				require.NoError(t, group.Write(reactor.Shared([]byte("on we go")), nil))
				for i, cl := range clients {
					if i%3 != 0 {
						cl.expect("on we go")
					}
				}
			})
		})
	}
}

// Members come and go, also while messages are delivered: nobody has one twice, and who stays has all.
func TestGroupMembership(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: 64 << 10}, &hooks{})
		clients, to := s.join(10, refs)
		do(t, to[3], func(c *reactor.Conn) {
			require.NoError(t, group.Add(c)) // twice is once
			group.Remove(c)
			group.Remove(c)
		})
		require.Equal(t, 9, group.Len())
		require.NoError(t, clients[5].Close())
		eventually(t, "who has ended is no member", func() bool { return group.Len() == 8 })
		require.NoError(t, group.Write(reactor.Shared([]byte("one")), nil))
		do(t, to[3], func(c *reactor.Conn) { require.NoError(t, group.Add(c)) })
		require.NoError(t, group.Write(reactor.Shared([]byte("two")), nil))
		for i, cl := range clients {
			switch i {
			case 3:
				cl.expect("two")
			case 5:
			default:
				cl.expect("onetwo")
			}
		}

		other := start(t, reactor.Options{Loops: 1}).NewGroup()
		do(t, to[0], func(c *reactor.Conn) {
			require.EqualError(t, other.Add(c), "reactor: a group has the connections of one reactor, this is another's")
			other.Remove(c)
		})
		socket := dialed(t, s.Reactor, "udp", "127.0.0.1:9", newDialedHooks(), nil)
		do(t, socket, func(c *reactor.Conn) {
			require.EqualError(t, group.Add(c), "reactor: a group has stream connections only, this stands for a peer of datagrams")
			group.Remove(c)
		})
		ended := make(chan error, 1)
		require.NoError(t, to[5].Do(func(c *reactor.Conn, _ error) { ended <- group.Add(c) }))
		require.ErrorIs(t, receive(t, ended), net.ErrClosed)
	})
}

// While one member is told that it missed a message, others may leave and come.
func TestGroupChangesDuringDelivery(t *testing.T) {
	const members = 12
	tr := transport{"unix", 1}
	s, group, refs := tr.serveGroup(t, reactor.Options{}, &reactor.StreamOptions{MaxOutput: 64 << 10}, &hooks{})
	clients, to := s.join(members, refs)
	conns := make([]*reactor.Conn, members)
	for i, ref := range to {
		do(t, ref, func(c *reactor.Conn) { conns[i] = c })
	}
	// Those in the middle cannot take more.
	for _, i := range []int{4, 5} {
		for full := false; !full; {
			do(t, to[i], func(c *reactor.Conn) {
				full = c.Unsent() >= 64<<10
				for err := error(nil); err == nil; {
					_, err = c.Write(pattern(4 << 10))
				}
			})
		}
	}
	m := reactor.Shared(pattern(16 << 10))
	require.NoError(t, group.Write(m, func(c *reactor.Conn) {
		if c == conns[4] {
			group.Remove(conns[0]) // has it already
			group.Remove(conns[4])
			group.Remove(conns[9]) // shall not get it
			group.Remove(conns[11])
			if err := group.Add(conns[11]); err != nil { // again, but after this message
				t.Error(err)
			}
		}
	}))
	do(t, to[1], func(*reactor.Conn) {}) // the message's task has run
	require.Equal(t, members-3, group.Len())
	require.NoError(t, group.Write(reactor.Shared([]byte("next")), nil))
	for i, cl := range clients {
		switch i {
		case 4, 5:
		case 0:
			cl.expectBytes(pattern(16 << 10))
		case 9:
		case 11:
			cl.expect("next")
		default:
			cl.expectBytes(pattern(16 << 10))
			cl.expect("next")
		}
	}
	for _, i := range []int{0, 9} { // and nothing else
		require.NoError(t, to[i].Close())
		clients[i].expectEOF()
	}
}

// Who joins while messages are on their way gets the last of them, without a gap, also if there was no member at times.
func TestGroupJoinsWithoutAGap(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, nil, &hooks{})
		clients, to := s.join(1, refs)
		write := func(p string) {
			if err := group.Write(reactor.Shared([]byte(p)), nil); err != nil {
				t.Errorf("Write: %v", err)
			}
		}
		do(t, to[0], func(c *reactor.Conn) {
			write("1")
			group.Remove(c)
			write("2")
			if err := group.Add(c); err != nil {
				t.Errorf("Add: %v", err)
			}
			write("3")
		})
		clients[0].expect("123")
	})
}

// What waits for a loop is bounded, and a message that is refused is refused for all.
func TestGroupBacklog(t *testing.T) {
	for name, o := range map[string]struct {
		limit, size int
	}{"messages": {10, 1}, "bytes": {0, 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			s, group, refs := transport{"tcp", 2}.serveGroup(t, reactor.Options{MailboxLimit: o.limit}, nil, &hooks{})
			clients, to := s.join(4, refs)
			release := block(t, to[0])
			n := 0
			for ; group.Write(reactor.Shared(pattern(o.size)), nil) == nil; n++ {
				require.LessOrEqual(t, n*o.size, 16<<20)
			}
			require.ErrorIs(t, group.Write(reactor.Shared(pattern(o.size)), nil), reactor.ErrMailboxFull)
			if o.limit > 0 {
				require.Equal(t, o.limit, n)
			}
			var wg sync.WaitGroup
			release()
			for _, cl := range clients {
				wg.Go(func() {
					got := make([]byte, n*o.size)
					if _, err := io.ReadFull(cl, got); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.NoError(t, group.Write(reactor.Shared([]byte("on we go")), nil))
			for _, cl := range clients {
				cl.expect("on we go")
			}
		})
	}
}

// After the reactor's end there is nobody to write to, and nothing is kept.
func TestGroupAfterTheEnd(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, group, refs := tr.serveGroup(t, reactor.Options{}, nil, &hooks{})
		_, to := s.join(3, refs)
		release := block(t, to[0])
		require.NoError(t, group.Write(reactor.Shared(pattern(1<<20)), nil))
		release()
		require.NoError(t, s.Close())
		require.Zero(t, group.Len())
		require.NoError(t, group.Write(reactor.Shared(pattern(1<<20)), nil))
		require.Zero(t, s.Buffered())
	})
}
