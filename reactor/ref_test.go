// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// Refs are equal if and only if they are of the same connection, and good as keys.
func TestRefIsComparable(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		s.dial()
		s.dial()
		one, two := receive(t, refs), receive(t, refs)
		require.True(t, one != two)
		require.NotEqual(t, one.ID(), two.ID())
		set := map[reactor.Ref]bool{one: true}
		require.False(t, set[two])
		found, ok := s.ByID(one.ID())
		require.True(t, ok)
		require.True(t, set[found])
		do(t, one, func(c *reactor.Conn) { require.True(t, set[c.Ref()]) })
	})
}

// The zero Ref answers like that of a connection long gone.
func TestZeroRef(t *testing.T) {
	requireStale(t, reactor.Ref{})
	require.Zero(t, reactor.Ref{}.ID())
	require.Zero(t, reactor.Ref{}.Tuple())
}

// requireStale checks that every method answers net.ErrClosed. A Do may be taken; its function gets the error then.
func requireStale(t *testing.T, ref reactor.Ref) {
	t.Helper()
	n, err := ref.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.Zero(t, n)
	require.ErrorIs(t, ref.Send(codec.Raw(), []byte("x")), net.ErrClosed)
	require.ErrorIs(t, ref.Close(), net.ErrClosed)
	got := make(chan error, 1)
	if err := ref.Do(func(_ *reactor.Conn, err error) { got <- err }); err != nil {
		require.ErrorIs(t, err, net.ErrClosed)
	} else {
		require.ErrorIs(t, receive(t, got), net.ErrClosed)
	}
}

// A Ref outlives its connection, other connections with the same descriptor number, and the reactor.
func TestStaleRef(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 10)
		accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) { ends <- err }})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		tuple := ref.Tuple()
		require.NoError(t, cl.Close())
		require.ErrorIs(t, receive(t, ends), io.EOF)
		requireStale(t, ref)
		for range 5 {
			next := s.dial()
			nextRef := receive(t, refs)
			requireStale(t, ref)
			_, err := nextRef.Write([]byte("for the next"))
			require.NoError(t, err)
			next.expect("for the next")
			require.NoError(t, next.Close())
			require.ErrorIs(t, receive(t, ends), io.EOF)
		}
		require.NoError(t, s.Close())
		requireStale(t, ref)
		require.Equal(t, tuple, ref.Tuple())
		require.NotZero(t, ref.ID())
	})
}

// What one goroutine asks of one connection happens in its order, whichever methods it uses and whatever the others ask.
func TestOrderOfEachSender(t *testing.T) {
	const senders, messages = 16, 300
	frames := codec.LengthPrefix(2, 0)
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		var wg sync.WaitGroup
		for sender := range senders {
			wg.Go(func() {
				for i := range messages {
					message := fmt.Appendf(nil, "%d %d%s\n", sender, i, strings.Repeat(" ", i%7*1000))
					var err error
					switch i % 3 {
					case 0:
						_, err = ref.Write(message)
					case 1:
						err = ref.Send(codec.Raw(), message)
					case 2:
						err = ref.Do(func(c *reactor.Conn, err error) {
							if err == nil {
								_, _ = c.Write(message)
							}
						})
					}
					if err != nil {
						t.Errorf("sender %d, message %d: %v", sender, i, err)
						return
					}
				}
			})
		}
		go func() {
			wg.Wait()
			_ = ref.Send(frames, nil) // nobody's message: 0 0
			_ = ref.Close()
		}()
		next := make([]int, senders)
		lines := bufio.NewScanner(io.MultiReader(cl, strings.NewReader("\n")))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && lines.Text() != "\x00\x00" {
			words := strings.Fields(lines.Text())
			require.Len(t, words, 2)
			sender, _ := strconv.Atoi(words[0])
			i, _ := strconv.Atoi(words[1])
			require.Equal(t, next[sender], i, "of sender %d", sender)
			next[sender]++
		}
		require.NoError(t, lines.Err())
		for _, n := range next {
			require.Equal(t, messages, n)
		}
	})
}

// nil from Do means that the function runs exactly once, also where the connection goes, or the reactor.
func TestDoRunsExactlyOnce(t *testing.T) {
	ends := []struct {
		name string
		end  func(s *server, cl client)
	}{
		{"connection stays", func(*server, client) {}},
		{"client ends", func(_ *server, cl client) { _ = cl.Close() }},
		{"client resets", func(_ *server, cl client) { cl.reset() }},
		{"reactor closes", func(s *server, _ client) { _ = s.Close() }},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, end := range ends {
			t.Run(end.name, func(t *testing.T) {
				accept, refs := accepted(&hooks{})
				s := tr.serve(t, accept, nil)
				cl := s.dial()
				ref := receive(t, refs)
				const senders, each = 8, 500
				runs := make([]atomic.Int32, senders*each)
				taken := make([]bool, senders*each)
				var wg sync.WaitGroup
				half := make(chan struct{}, senders)
				for sender := range senders {
					wg.Go(func() {
						for i := range each {
							at := sender*each + i
							err := ref.Do(func(c *reactor.Conn, err error) {
								runs[at].Add(1)
								if c.Tuple() != ref.Tuple() || c.ID() != ref.ID() {
									t.Error("of another connection")
								}
								if err != nil && !errors.Is(err, net.ErrClosed) {
									t.Error(err)
								}
							})
							if taken[at] = err == nil; err != nil && !errors.Is(err, net.ErrClosed) {
								t.Error(err)
							}
							if i == each/2 {
								half <- struct{}{}
							}
						}
					})
				}
				receive(t, half)
				end.end(s, cl)
				wg.Wait()
				require.NoError(t, s.Close()) // returns when everything taken has run
				for at := range runs {
					want := int32(0)
					if taken[at] {
						want = 1
					}
					require.Equal(t, want, runs[at].Load(), "function %d", at)
				}
			})
		}
	})
}

// Functions that wait while the loop is busy are run before the reactor has ended.
func TestTasksPendingAtShutdownRun(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		var ran atomic.Int32
		const tasks = 3000 // more than one turn's
		for range tasks {
			require.NoError(t, ref.Do(func(*reactor.Conn, error) { ran.Add(1) }))
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		release()
		require.NoError(t, receive(t, closed))
		require.EqualValues(t, tasks, ran.Load())
		require.ErrorIs(t, ref.Do(func(*reactor.Conn, error) { t.Error("ran") }), net.ErrClosed)
	})
}

// A function that asks to be run again, deaf to what it is told, does not keep the reactor from ending.
func TestTaskThatRenewsItselfDoesNotHoldUpClose(t *testing.T) {
	accept, refs := accepted(&hooks{})
	s := transport{"tcp", 1}.serve(t, accept, nil)
	s.dial()
	ref := receive(t, refs)
	runs := make(chan struct{}, 1)
	var over atomic.Bool // so that a failing test comes to its end
	t.Cleanup(func() { over.Store(true) })
	var again func(*reactor.Conn, error)
	again = func(*reactor.Conn, error) {
		select {
		case runs <- struct{}{}:
		default:
		}
		if !over.Load() {
			_ = ref.Do(again)
		}
	}
	require.NoError(t, ref.Do(again))
	receive(t, runs)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	require.NoError(t, receive(t, closed))
}

// The mailbox is bounded: at the limit every method says so, and a refused write is not accounted for.
func TestMailboxFull(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 1)
		accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) { ends <- err }})
		const limit = 5
		s := tr.serveWith(t, reactor.Options{MailboxLimit: limit}, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		_, err := ref.Write([]byte("w"))
		require.NoError(t, err)
		require.NoError(t, ref.Send(codec.Raw(), []byte("s")))
		ran := make(chan error, limit)
		for range limit - 2 {
			require.NoError(t, ref.Do(func(_ *reactor.Conn, err error) { ran <- err }))
		}
		n, err := ref.Write([]byte("x"))
		require.ErrorIs(t, err, reactor.ErrMailboxFull)
		require.Zero(t, n)
		require.ErrorIs(t, ref.Send(codec.Raw(), []byte("x")), reactor.ErrMailboxFull)
		require.ErrorIs(t, ref.Close(), reactor.ErrMailboxFull)
		require.ErrorIs(t, ref.Do(func(*reactor.Conn, error) { t.Error("ran") }), reactor.ErrMailboxFull)
		require.EqualValues(t, 2, s.Buffered())
		release()
		for range limit - 2 {
			require.NoError(t, receive(t, ran))
		}
		eventually(t, "room in the mailbox", func() bool { return ref.Close() == nil })
		require.Equal(t, "ws", cl.rest())
		require.NoError(t, receive(t, ends))
	})
}

// Handlers may use Refs of their own loop; that waits for nothing.
func TestRefOnItsOwnLoop(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Ref().Write([]byte("2"))
			if err == nil {
				err = c.Ref().Do(func(c *reactor.Conn, _ error) {
					_, _ = c.Write([]byte("3"))
					_ = c.Ref().Close()
				})
			}
			_, _ = c.Write([]byte("1"))
			return len(in), err
		})), nil)
		cl := s.dial()
		cl.send("x")
		require.Equal(t, "123", cl.rest())
	})
}

// Thousands of writes to a connection that is gone, or goes meanwhile, hurt nobody.
func TestWritesToAClosedConnection(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		gone := make(chan error, 1)
		accept, refs := accepted(&hooks{data: echo, close: func(c *reactor.Conn, err error) {
			if _, rerr := c.Ref().Write([]byte("x")); !errors.Is(rerr, net.ErrClosed) {
				err = fmt.Errorf("Ref.Write in Close: %w", rerr)
			}
			gone <- err
		}})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		other := s.dial()
		receive(t, refs)
		var wg sync.WaitGroup
		var taken atomic.Int64
		reset := sync.OnceFunc(cl.reset)
		for range 8 {
			wg.Go(func() {
				for i := range 5000 {
					if n, err := ref.Write([]byte("0123456789")); err == nil {
						taken.Add(int64(n))
					} else if !errors.Is(err, net.ErrClosed) && !errors.Is(err, reactor.ErrOverflow) {
						t.Error(err)
						return
					}
					if i == 1000 {
						reset()
					}
				}
			})
		}
		err := receive(t, gone)
		wg.Wait()
		require.NotErrorIs(t, err, net.ErrClosed)
		var unsent *reactor.UnsentError
		if errors.As(err, &unsent) {
			require.LessOrEqual(t, unsent.Bytes, taken.Load())
			require.Positive(t, unsent.Bytes)
		}
		other.send("still served")
		other.expect("still served")
		eventually(t, "nothing accounted for", func() bool { return s.Buffered() == 0 })
		require.False(t, s.Log.has("level=ERROR"))
	})
}

// The limit on a connection's output holds for what many goroutines post: each may pass it by one write.
func TestOverflowAcrossGoroutines(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		const senders, size = 8, 1000
		opts := &reactor.StreamOptions{HighWater: 64 << 10, MaxOutput: 128 << 10}
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, opts)
		cl := s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		var wg sync.WaitGroup
		var taken atomic.Int64
		for range senders {
			wg.Go(func() {
				for {
					n, err := ref.Write(make([]byte, size))
					if err != nil {
						if !errors.Is(err, reactor.ErrOverflow) {
							t.Error(err)
						}
						return
					}
					taken.Add(int64(n))
				}
			})
		}
		wg.Wait()
		require.GreaterOrEqual(t, taken.Load(), int64(opts.MaxOutput))
		require.Less(t, taken.Load(), int64(opts.MaxOutput+senders*size))
		release()
		cl.expect(string(make([]byte, taken.Load())))
		eventually(t, "room again", func() bool { _, err := ref.Write([]byte("!")); return err == nil })
		cl.expect("!")
	})
}

// UnsentError counts every byte that was taken and not sent, those in the mailbox included.
func TestUnsentErrorCountsPostedBytes(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 1)
		accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) { ends <- err }})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)

		entered, until := make(chan struct{}), make(chan struct{})
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) {
			close(entered)
			<-until
			c.Abort()
		}))
		receive(t, entered)
		for range 100 {
			_, err := ref.Write(make([]byte, 10))
			require.NoError(t, err)
		}
		require.NoError(t, ref.Send(codec.Fixed(5), []byte("12345")))
		close(until)
		err := receive(t, ends)
		var unsent *reactor.UnsentError
		require.ErrorAs(t, err, &unsent)
		require.EqualValues(t, 1005, unsent.Bytes)
		require.ErrorIs(t, err, reactor.ErrAborted)
		require.Equal(t, "reactor: 1005 bytes unsent: reactor: connection aborted", err.Error())
		cl.expectReset()
		eventually(t, "nothing accounted for", func() bool { return s.Buffered() == 0 })
	})
}

// A Close that another goroutine asked for, and writes behind it: what was asked before is sent, what came after is
// told as lost.
func TestWriteBehindClose(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 1)
		accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) { ends <- err }})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		_, err := ref.Write([]byte("before"))
		require.NoError(t, err)
		require.NoError(t, ref.Close())
		_, err = ref.Write([]byte("behind"))
		require.NoError(t, err, "queued, not delivered")
		release()
		require.Equal(t, "before", cl.rest())
		var unsent *reactor.UnsentError
		require.ErrorAs(t, receive(t, ends), &unsent)
		require.EqualValues(t, len("behind"), unsent.Bytes)
		require.ErrorIs(t, unsent, net.ErrClosed)
	})
}

// Ref.Write copies: what the caller does with p afterwards is its own affair.
func TestRefWriteKeepsNothing(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		p := pattern(100 << 10)
		want := string(p)
		_, err := ref.Write(p)
		require.NoError(t, err)
		clear(p)
		release()
		cl.expect(want)
	})
}
