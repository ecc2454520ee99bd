// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// Flow control: output above the high-water mark stops input, below the low-water mark it goes on, and nothing is
// lost on the way.

// One read that holds a thousand requests with large answers: output stays near the high-water mark and every
// answer arrives.
func TestThousandRequestsInOneReadStayBounded(t *testing.T) {
	t.Parallel()
	const requests, answer, high = 1000, 4 << 10, 32 << 10
	payload := pattern(answer)
	answerTo := func(request []byte) []byte { return append(bytes.Clone(request), payload[len(request):]...) }
	var most atomic.Int64
	respond := func(c *reactor.Conn, request []byte) error {
		_, err := c.Write(answerTo(request))
		most.Store(max(most.Load(), int64(c.Unsent())))
		return err
	}
	handlers := map[string]reactor.Handler{
		"frames": reactor.Frames(codec.Fixed(4), reactor.FrameFunc(respond)),
		// A handler of its own looks at Blocked.
		"data": reactor.DataFunc(func(c *reactor.Conn, in []byte) (n int, err error) {
			for ; len(in)-n >= 4 && !c.Blocked() && err == nil; n += 4 {
				err = respond(c, in[n:n+4])
			}
			return n, err
		}),
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for name, h := range handlers {
			most.Store(0)
			w := watch(t, h)
			s := tr.serve(t, w.narrowed, &reactor.StreamOptions{HighWater: high, LowWater: high / 4})
			cl := s.dialNarrow()
			var wire bytes.Buffer
			for i := range requests {
				fmt.Fprintf(&wire, "%04d", i)
			}
			cl.send(wire.String())
			ref := receive(t, w.refs)
			settled(t, ref) // with none of the answers read
			require.NoError(t, cl.CloseWrite())
			for i := range requests {
				require.Equal(t, string(answerTo(fmt.Appendf(nil, "%04d", i))), cl.read(answer), "%s: answer %d", name, i)
			}
			cl.expectEOF()
			require.Equal(t, io.EOF, receive(t, w.ends))
			require.LessOrEqual(t, most.Load(), int64(high+answer), name)
			require.Positive(t, most.Load())
		}
	})
}

// What is left is delivered when output falls below the low-water mark, without new bytes from the peer.
func TestDeliveryGoesOnWithoutNewBytes(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, reactor.Frames(codec.Fixed(1), reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
			_, err := c.Write(pattern(100 << 10))
			return err
		})))
		s := tr.serve(t, w.narrowed, nil)
		cl := s.dialNarrow()
		cl.send("12345")
		for range 5 {
			require.Equal(t, string(pattern(100<<10)), cl.read(100<<10))
		}
		require.NoError(t, cl.CloseWrite())
		cl.expectEOF()
		require.Equal(t, io.EOF, receive(t, w.ends))
	})
}

// The marks are strict: at the high-water mark a connection is not blocked, one byte above it is.
func TestHighWaterMarkIsStrict(t *testing.T) {
	t.Parallel()
	for _, high := range []int{1000, 64 << 10} {
		forEachNetwork(t, func(t *testing.T, tr transport) {
			w := watch(t, &hooks{})
			s := tr.serve(t, w.narrowed, &reactor.StreamOptions{HighWater: high})
			s.dialNarrow()
			ref := receive(t, w.refs)
			stall(t, ref, 1)
			do(t, ref, func(c *reactor.Conn) {
				for _, step := range []struct{ to, blocked int }{{high - 1, 0}, {high, 0}, {high + 1, 1}} {
					if n := step.to - c.Unsent(); n > 0 {
						_, _ = c.Write(make([]byte, n))
					}
					if c.Unsent() == step.to && c.Blocked() != (step.blocked == 1) {
						t.Errorf("high water %d: Blocked is %t at %d", high, c.Blocked(), c.Unsent())
					}
				}
				if !c.Blocked() {
					t.Errorf("high water %d: not blocked at %d", high, c.Unsent())
				}
			})
		})
	}
}

// Writable comes once for each crossing, and only when output has fallen below the low-water mark.
func TestWritableOncePerCrossing(t *testing.T) {
	t.Parallel()
	const high, low = 64 << 10, 16 << 10
	forEachNetwork(t, func(t *testing.T, tr transport) {
		writable := make(chan int, 100)
		w := watch(t, &hooks{writable: func(c *reactor.Conn) {
			if c.Blocked() {
				t.Errorf("blocked inside Writable")
			}
			writable <- c.Unsent()
		}})
		s := tr.serve(t, w.narrowed, &reactor.StreamOptions{HighWater: high, LowWater: low})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		read := 0
		for crossing := range 3 {
			// Above the mark, in one write and in many: one crossing.
			written := stall(t, ref, high)
			blocked := false
			for n := 0; n < 10 || !blocked; n++ { // the kernel may have taken some late
				do(t, ref, func(c *reactor.Conn) {
					n, _ := c.Write(make([]byte, 5000))
					written += n
					blocked = c.Blocked()
				})
			}
			require.Empty(t, writable, "crossing %d", crossing)
			for read = 0; len(writable) == 0 && read < written; {
				read += len(cl.read(min(4<<10, written-read)))
			}
			require.Less(t, receive(t, writable), low)
			cl.read(written - read)
			settled(t, ref)
			require.Empty(t, writable, "crossing %d, told twice", crossing)
		}
		// Below and at the mark: no crossing.
		written := stall(t, ref, 1)
		do(t, ref, func(c *reactor.Conn) {
			n, _ := c.Write(make([]byte, high-c.Unsent()))
			written += n
		})
		cl.read(written)
		settled(t, ref)
		require.Empty(t, writable)
	})
}

// A producer that writes until it is blocked and again in Writable delivers everything through small marks.
func TestProducerThroughSmallMarks(t *testing.T) {
	t.Parallel()
	size := 100 << 20
	if testing.Short() || raceBuild {
		size = 16 << 20
	}
	want := pattern(1 << 20)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		at, most := 0, 0
		produce := func(c *reactor.Conn) {
			for !c.Blocked() && at < size {
				off := at % len(want)
				n, err := c.Write(want[off:min(off+1000, len(want))])
				if err != nil {
					t.Errorf("Write: %v", err)
					return
				}
				at += n
				most = max(most, c.Unsent())
				if at%(256<<10) < 1000 && at < size { // a turn for the others
					break
				}
			}
			if at >= size {
				_ = c.Close()
			} else if !c.Blocked() {
				_ = c.Ref().Do(func(c *reactor.Conn, _ error) { c.Pause(); c.Resume() })
			}
		}
		s, w := tr.watched(t, &hooks{
			data:     func(c *reactor.Conn, _ []byte) (int, error) { produce(c); return 0, nil },
			writable: produce,
		}, &reactor.StreamOptions{HighWater: 16 << 10, LowWater: 8 << 10})
		cl := s.dial()
		cl.send("go")
		got := 0
		for chunk := make([]byte, 1<<20); ; {
			n, err := io.ReadFull(cl, chunk)
			requireSame(t, want[:n], chunk[:n], "after %d bytes", got)
			got += n
			if err != nil {
				require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), err)
				break
			}
		}
		require.NoError(t, receive(t, w.ends))
		require.GreaterOrEqual(t, got, size)
		require.LessOrEqual(t, most, 17<<10)
	})
}

// Eight clients flood and never read: what the process holds for them stays bounded, and then all bytes arrive.
func TestFloodersThatNeverRead(t *testing.T) {
	const clients, each, request = 8, 8 << 20, 1024
	h := reactor.Frames(codec.Fixed(request), reactor.FrameFunc(func(c *reactor.Conn, p []byte) error {
		_, err := c.Write(p)
		return err
	}))
	s := transport{"tcp", 2}.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
		narrow(c)
		return h, nil
	}, nil)
	block := pattern(1 << 20)
	before := heapInUse()
	var sent [clients]atomic.Int64
	var all sync.WaitGroup
	var flooders [clients]client
	for i := range clients {
		flooders[i] = s.dialNarrow()
		require.NoError(t, flooders[i].SetReadBuffer(64<<10)) // or the kernel takes megabytes
		all.Go(func() {
			for n := range each / len(block) {
				k, err := flooders[i].Write(block)
				sent[i].Add(int64(k))
				if err != nil {
					t.Errorf("client %d, block %d: %v", i, n, err)
					return
				}
			}
			_ = flooders[i].CloseWrite()
		})
	}
	// Every flooder is stuck when nothing more goes in.
	last, same := int64(-1), 0
	eventually(t, "the flooders are stuck", func() bool {
		total := int64(0)
		for i := range sent {
			total += sent[i].Load()
		}
		if last != total {
			same = 0
		}
		last, same = total, same+1
		return same > 200
	})
	require.Less(t, last, int64(clients*each), "nobody was held up")
	grown := heapInUse() - before
	t.Logf("%d KiB held for %d flooders who sent %d KiB", grown>>10, clients, last>>10)
	require.Less(t, grown, int64(48<<20))
	for i := range clients {
		all.Go(func() {
			for at := 0; at < each; at += len(block) {
				got := make([]byte, len(block))
				if n, err := io.ReadFull(flooders[i], got); err != nil || !bytes.Equal(got, block) {
					t.Errorf("client %d: %v after %d bytes", i, err, at+n)
					return
				}
			}
			if n, err := flooders[i].Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("client %d: %d bytes too many, %v", i, n, err)
			}
		})
	}
	all.Wait()
}

// heapInUse returns what the program holds, garbage excluded.
func heapInUse() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// Write takes what comes below MaxOutput and refuses at it. That closes nothing, and what it took arrives.
func TestOutputLimit(t *testing.T) {
	t.Parallel()
	const limit = 200_000
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, &reactor.StreamOptions{MaxOutput: limit})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		written := stall(t, ref, limit-1)
		do(t, ref, func(c *reactor.Conn) {
			if below := limit - 1 - c.Unsent(); below > 0 { // the kernel took a little meanwhile
				n, _ := c.Write(make([]byte, below))
				written += n
			}
			n, err := c.Write(make([]byte, 1000)) // one may pass it
			written += n
			if n != 1000 || err != nil {
				t.Errorf("Write below the limit: %d, %v", n, err)
			}
			for range 3 {
				if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, reactor.ErrOverflow) {
					t.Errorf("Write at the limit: %d, %v", n, err)
				}
				if err := c.Send(codec.Fixed(1), []byte("x")); !errors.Is(err, reactor.ErrOverflow) {
					t.Errorf("Send at the limit: %v", err)
				}
			}
		})
		_, err := ref.Write([]byte("x"))
		require.ErrorIs(t, err, reactor.ErrOverflow)
		cl.read(written)
		settled(t, ref)
		_, err = ref.Write([]byte("on"))
		require.NoError(t, err)
		cl.expect("on")
		require.Empty(t, w.ends)
	})
}

// Output that Refs post counts at once: many writers cannot pass the limit by more than one write each.
func TestOutputLimitOfRefs(t *testing.T) {
	t.Parallel()
	const limit, size, writers = 64 << 10, 1 << 10, 4
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, &reactor.StreamOptions{MaxOutput: limit})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		stalled := stall(t, ref, 1)
		release := block(t, ref) // the loop takes nothing out of its mailbox
		var taken atomic.Int64
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for {
					n, err := ref.Write(make([]byte, size))
					if taken.Add(int64(n)); err != nil {
						if !errors.Is(err, reactor.ErrOverflow) {
							t.Errorf("Write: %v", err)
						}
						return
					}
				}
			})
		}
		all.Wait()
		release()
		require.LessOrEqual(t, taken.Load(), int64(limit+writers*size))
		require.GreaterOrEqual(t, taken.Load(), int64(limit-stalled-size))
		cl.read(stalled + int(taken.Load()))
	})
}

// A handler that leaves more than MaxInput unconsumed loses its connection, with the numbers.
func TestUnconsumedInputIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		limit int
		need  int
		sent  int
		over  bool
	}{
		{"at the limit", 10_000, 0, 10_000, false},
		{"above the limit", 10_000, 0, 10_001, true},
		{"far above", 10_000, 0, 1 << 20, true},
		{"need at the limit", 10_000, 10_000, 1, false},
		{"need above the limit", 10_000, 10_001, 1, true},
		{"the default", 0, 0, 1<<20 + 1, true},
		{"up to the default", 0, 0, 1 << 20, false},
		{"none", -1, 0, 3 << 20, false},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			var seen atomic.Int64
			w := watch(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
				seen.Store(int64(len(in)))
				c.Need(test.need)
				return 0, nil
			}})
			s := tr.serve(t, w.accept, &reactor.StreamOptions{MaxInput: test.limit})
			cl := s.dial()
			_, err := cl.Write(make([]byte, test.sent))
			if test.over {
				end := receive(t, w.ends)
				require.ErrorIs(t, end, reactor.ErrInputLimit, test.name)
				require.Contains(t, end.Error(), "limit", test.name)
				continue
			}
			require.NoError(t, err, test.name)
			eventually(t, test.name, func() bool { return int(seen.Load()) == test.sent })
			require.NoError(t, cl.CloseWrite())
			require.Equal(t, io.ErrUnexpectedEOF, receive(t, w.ends), test.name)
		}
	})
}

// A connection that is over its high-water mark is not closed for the input that it could not be given.
func TestBlockedInputIsNotOverItsLimit(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		const frames = 10_000 // of one byte, all in one read, each answered with 16
		w := watch(t, reactor.Frames(codec.Fixed(1), reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
			_, err := c.Write([]byte("sixteen letters!"))
			return err
		})))
		s := tr.serve(t, w.narrowed, &reactor.StreamOptions{MaxInput: 1000, HighWater: 1000})
		cl := s.dialNarrow()
		go func() { _, _ = cl.Write(make([]byte, frames)) }()
		for range frames {
			cl.expect("sixteen letters!")
		}
		require.Empty(t, w.ends)
	})
}

// After Pause not one more Data comes, until Resume; both may be called any number of times.
func TestPauseStopsAtOnce(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		paused := make(chan string, 100)
		wrapped := reactor.Frames(codec.Fixed(2), reactor.FrameFunc(func(c *reactor.Conn, p []byte) error {
			c.Pause()
			c.Pause()
			paused <- string(p)
			return nil
		}))
		s, w := tr.watched(t, wrapped, nil)
		cl := s.dial()
		cl.send("00010203")
		ref := receive(t, w.refs)
		for i := range 8 {
			require.Equal(t, fmt.Sprintf("%02d", i), receive(t, paused))
			cl.send(fmt.Sprintf("%02d", i+4)) // there is always more
			for range 5 {
				do(t, ref, func(*reactor.Conn) {})
			}
			require.Empty(t, paused, "delivered while paused")
			do(t, ref, func(c *reactor.Conn) { c.Resume(); c.Resume() })
		}
	})
}

// The peer's end is not told while paused, and is after Resume, behind all data.
func TestEndWhilePaused(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		var got bytes.Buffer
		calls := make(chan string, 10)
		s, w := tr.watched(t, &hooks{
			data: func(_ *reactor.Conn, in []byte) (int, error) {
				got.Write(in)
				return len(in), nil
			},
			eof: func(*reactor.Conn, []byte) error { calls <- "EOF"; return io.EOF },
		}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, (*reactor.Conn).Pause)
		sent := pattern(100 << 10)
		cl.send(string(sent))
		require.NoError(t, cl.CloseWrite())
		for range 20 {
			do(t, ref, func(*reactor.Conn) {})
		}
		require.Empty(t, calls)
		do(t, ref, (*reactor.Conn).Resume)
		require.Equal(t, "EOF", receive(t, calls))
		require.Equal(t, io.EOF, receive(t, w.ends))
		requireSame(t, sent, got.Bytes())
	})
}

// A paused connection still sends.
func TestPausedConnectionSends(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) {
			c.Pause()
			_, _ = c.Write(pattern(4 << 20))
		})
		cl.send("never delivered")
		require.Equal(t, string(pattern(4<<20)), cl.read(4<<20))
		_, err := ref.Write([]byte("more"))
		require.NoError(t, err)
		cl.expect("more")
	})
}
