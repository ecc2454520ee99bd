// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// What Data does not consume comes again, in front of what has come since.
func TestDataSeesEverythingUnconsumed(t *testing.T) {
	script := []struct {
		send    string
		in      string
		consume int
	}{
		{"ab", "ab", 0},
		{"c", "abc", 1},
		{"d", "bcd", 3},
		{"e", "e", 0},
		{strings.Repeat("f", 5000), "e" + strings.Repeat("f", 5000), 1}, // leaves more than the room in front of a read
		{"g", strings.Repeat("f", 5000) + "g", 5000},
		{"h", "gh", 2},
		{"i", "i", 1},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		calls := make(chan string, 100)
		step := 0
		s := tr.serve(t, shared(reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) {
			if len(in) < len(script[step].in) {
				return 0, nil // the network cut it
			}
			calls <- string(in)
			step++
			return script[step-1].consume, nil
		})), nil)
		cl := s.dial()
		for i, st := range script {
			cl.send(st.send)
			require.Equal(t, st.in, receive(t, calls), "step %d", i)
		}
	})
}

// Need postpones the next call of Data, and only that one.
func TestNeed(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		calls := make(chan string, 100)
		s := tr.serve(t, shared(&hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				calls <- string(in)
				if string(in) == "1" {
					c.Need(5)
					return 0, nil
				}
				return len(in), nil
			},
			eof: func(_ *reactor.Conn, rest []byte) error {
				calls <- "EOF " + string(rest)
				return io.EOF
			},
		}), nil)
		cl := s.dial()
		cl.send("1")
		require.Equal(t, "1", receive(t, calls))
		for _, b := range []string{"2", "3", "4", "5"} {
			cl.send(b)
		}
		require.Equal(t, "12345", receive(t, calls))
		cl.send("6")
		require.Equal(t, "6", receive(t, calls), "holds for one call only")
		cl.send("1")
		require.Equal(t, "1", receive(t, calls))
		cl.send("2")
		require.NoError(t, cl.CloseWrite())
		require.Equal(t, "EOF 12", receive(t, calls))
	})
}

// Need may ask for more before anything has come, and for what is there already.
func TestNeedBeforeTheFirstByte(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		calls := make(chan string, 100)
		h := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			calls <- string(in)
			c.Need(-1) // nothing in particular
			return len(in), nil
		})
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			c.Need(4)
			return h, nil
		}, nil)
		cl := s.dial()
		for _, b := range []string{"w", "x", "y", "z"} {
			cl.send(b)
		}
		require.Equal(t, "wxyz", receive(t, calls))
		cl.send("!")
		require.Equal(t, "!", receive(t, calls))
	})
}

// Unconsumed input is bounded: beyond MaxInput the connection closes with ErrInputLimit, at MaxInput it does not.
func TestInputLimit(t *testing.T) {
	const limit = 1000
	forEachNetwork(t, func(t *testing.T, tr transport) {
		got, ends := make(chan int, 100), make(chan error, 1)
		h := &hooks{
			data: func(_ *reactor.Conn, in []byte) (int, error) {
				got <- len(in)
				return 0, nil
			},
			close: func(_ *reactor.Conn, err error) { ends <- err },
		}
		s := tr.serve(t, shared(h), &reactor.StreamOptions{MaxInput: limit})
		cl := s.dial()
		cl.send(strings.Repeat("x", limit))
		for receive(t, got) < limit {
		}
		require.Empty(t, ends)
		cl.send("y")
		require.ErrorIs(t, receive(t, ends), reactor.ErrInputLimit)
		cl.expectGone()

		needs := &hooks{
			data: func(c *reactor.Conn, _ []byte) (int, error) {
				c.Need(limit + 1)
				return 0, nil
			},
			close: h.close,
		}
		s = tr.serve(t, shared(needs), &reactor.StreamOptions{MaxInput: limit})
		cl = s.dial()
		cl.send("z")
		require.ErrorIs(t, receive(t, ends), reactor.ErrInputLimit)
	})
}

// The error of a handler that also left too much unconsumed is the one that Close gets.
func TestErrorOfDataGoesBeforeInputLimit(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		refused := errors.New("refused")
		ends := make(chan error, 1)
		s := tr.serve(t, shared(&hooks{
			data:  func(*reactor.Conn, []byte) (int, error) { return 0, refused },
			close: func(_ *reactor.Conn, err error) { ends <- err },
		}), &reactor.StreamOptions{MaxInput: 16})
		s.dial().send(strings.Repeat("x", 100))
		require.ErrorIs(t, receive(t, ends), refused)
	})
}

// A count of consumed bytes that cannot be is a panic, contained like any other.
func TestConsumedOutOfRange(t *testing.T) {
	for _, consumed := range []int{-1, 4, math.MaxInt} {
		t.Run(fmt.Sprint(consumed), func(t *testing.T) {
			ends := make(chan error, 1)
			s := transport{"tcp", 1}.serve(t, shared(&hooks{
				data: func(_ *reactor.Conn, in []byte) (int, error) {
					if string(in) == "ok" {
						return 2, nil
					}
					return consumed, nil
				},
				close: func(_ *reactor.Conn, err error) { ends <- err },
			}), nil)
			other := s.dial()
			other.send("ok")
			cl := s.dial()
			cl.send("abc")
			cl.expectGone()
			var panicked *reactor.PanicError
			require.ErrorAs(t, receive(t, ends), &panicked)
			require.Equal(t, fmt.Sprintf("reactor: Data consumed %d of 3 bytes", consumed), panicked.Value)
			other.send("ok")
			require.NoError(t, other.CloseWrite())
			require.ErrorIs(t, receive(t, ends), io.EOF)
		})
	}
}

// No method of a handler is called from inside another of the same connection, whatever it does there.
func TestMethodsAreNeverReentered(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		inside := map[*reactor.Conn]string{}
		faults := make(chan string, 100)
		enter := func(c *reactor.Conn, method string) (leave func()) {
			if outer, ok := inside[c]; ok {
				faults <- method + " inside " + outer
			}
			inside[c] = method
			return func() { delete(inside, c) }
		}
		big := pattern(200 << 10)
		ends := make(chan error, 10)
		prod := func(c *reactor.Conn) {
			_, _ = c.Write([]byte("small"))
			_, _ = c.Write(big) // passes the high-water mark
			c.Pause()
			c.Resume()
			_, _ = c.Write(big)
		}
		h := &hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				defer enter(c, "Data")()
				prod(c)
				return 1, nil
			},
			writable: func(c *reactor.Conn) {
				defer enter(c, "Writable")()
				_, _ = c.Write([]byte("w"))
			},
			eof: func(c *reactor.Conn, _ []byte) error {
				defer enter(c, "EOF")()
				prod(c)
				_ = c.Close()
				return nil
			},
			close: func(c *reactor.Conn, err error) {
				defer enter(c, "Close")()
				c.Abort()
				_ = c.Close()
				_ = c.CloseWrite()
				c.Resume()
				ends <- err
			},
		}
		tr.loops = 1 // inside has no lock
		s := tr.serve(t, shared(h), nil)
		cl := s.dial()
		go func() {
			_, _ = cl.Write([]byte("0123456789"))
			_ = cl.CloseWrite()
		}()
		_, err := io.Copy(io.Discard, cl)
		require.NoError(t, err)
		require.NoError(t, receive(t, ends))
		require.Empty(t, faults)
	})
}

// However a connection ends, Close is called once, after everything else, with the tuple still readable.
func TestCloseIsCalledOnceAndLast(t *testing.T) {
	boom := errors.New("boom")
	ways := []struct {
		name   string
		act    string // what the client sends
		client func(cl client)
		check  func(t *testing.T, err error)
	}{
		{"client ends", "", func(cl client) { _ = cl.CloseWrite() }, isError(io.EOF)},
		{"client closes", "", func(cl client) { _ = cl.Close() }, isError(io.EOF)},
		{"client resets", "", client.reset, func(t *testing.T, err error) {
			if !errors.Is(err, io.EOF) { // a unix socket
				var op *net.OpError
				require.ErrorAs(t, err, &op)
				require.Equal(t, "read", op.Op)
			}
		}},
		{"Close", "close", nil, isError(nil)},
		{"Abort", "abort", nil, isError(reactor.ErrAborted)},
		{"error of Data", "error", nil, isError(boom)},
		{"panic in Data", "panic", nil, func(t *testing.T, err error) {
			var p *reactor.PanicError
			require.ErrorAs(t, err, &p)
			require.Equal(t, "boom", p.Value)
		}},
		{"Close and then an error", "close error", nil, isError(nil)},
		{"Close twice", "close close", nil, isError(nil)},
		{"Abort after Close", "close abort", nil, isError(reactor.ErrAborted)},
		{"Close after Abort", "abort close", nil, isError(reactor.ErrAborted)},
		{"CloseWrite and client ends", "closewrite", func(cl client) { _ = cl.CloseWrite() }, isError(io.EOF)},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, way := range ways {
			t.Run(way.name, func(t *testing.T) {
				calls := make(chan string, 100)
				refs := make(chan reactor.Ref, 1)
				var cause error
				var tuple reactor.FourTuple
				h := &hooks{
					data: func(c *reactor.Conn, in []byte) (int, error) {
						calls <- "Data"
						var err error
						for _, act := range strings.Fields(string(in)) {
							switch act {
							case "close":
								_ = c.Close()
							case "closewrite":
								_ = c.CloseWrite()
							case "abort":
								c.Abort()
							case "error":
								err = boom
							case "panic":
								panic("boom")
							}
						}
						return len(in), err
					},
					eof: func(*reactor.Conn, []byte) error {
						calls <- "EOF"
						return io.EOF
					},
					close: func(c *reactor.Conn, err error) {
						cause, tuple = err, c.Tuple()
						calls <- "Close"
					},
				}
				s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
					refs <- c.Ref()
					return h, nil
				}, nil)
				cl := s.dial()
				ref := receive(t, refs)
				if way.act != "" {
					cl.send(way.act)
					require.Equal(t, "Data", receive(t, calls))
				}
				if way.client != nil {
					way.client(cl)
				}
				for call := receive(t, calls); call != "Close"; call = receive(t, calls) {
					require.Equal(t, "EOF", call)
				}
				way.check(t, cause)
				require.Equal(t, ref.Tuple(), tuple)
				if tr.network == "tcp" {
					require.Equal(t, cl.LocalAddr().(*net.TCPAddr).AddrPort(), tuple.Remote)
				}
				require.NoError(t, s.Close())
				require.Empty(t, calls, "after Close")
				_, err := ref.Write([]byte("x"))
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
	})
}

// isError checks for an error, nil included.
func isError(want error) func(t *testing.T, err error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if want == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, want)
		}
	}
}

// A connection may be closed in each method; what was written before arrives.
func TestCloseInsideEveryMethod(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		big := morePattern()
		for _, method := range []string{"accept", "Data", "EOF", "Writable", "Close", "Do"} {
			t.Run(method, func(t *testing.T) {
				closed, written := make(chan error, 2), 0
				bye := func(c *reactor.Conn, in string) error {
					if in != method {
						return nil
					}
					_, _ = c.Write([]byte("bye"))
					return c.Close()
				}
				h := &hooks{
					data: func(c *reactor.Conn, in []byte) (int, error) {
						for method == "Writable" && !c.Blocked() { // the kernel may take megabytes while the client reads
							_, _ = c.Write(big)
							written++
						}
						return len(in), bye(c, "Data")
					},
					eof: func(c *reactor.Conn, _ []byte) error {
						return errors.Join(bye(c, "EOF"), bye(c, "Close"))
					},
					writable: func(c *reactor.Conn) { _ = bye(c, "Writable") },
					close: func(c *reactor.Conn, err error) {
						if method == "Close" {
							if c.Close() == nil {
								err = errors.New("Close in Close said nil")
							}
							if _, werr := c.Write([]byte("bye")); !errors.Is(werr, net.ErrClosed) {
								err = errors.New("Write in Close said " + fmt.Sprint(werr))
							}
						}
						closed <- err
					},
				}
				s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
					if method == "Do" {
						_ = c.Ref().Do(func(c *reactor.Conn, _ error) { _ = bye(c, "Do") })
					}
					return h, bye(c, "accept")
				}, nil)
				cl := s.dial()
				_, _ = cl.Write([]byte("x")) // fails where the server has closed already
				if method == "EOF" || method == "Close" {
					require.NoError(t, cl.CloseWrite())
				}
				rest := cl.rest()
				require.NoError(t, receive(t, closed))
				for range written {
					require.True(t, strings.HasPrefix(rest, string(big)))
					rest = rest[len(big):]
				}
				require.Equal(t, "bye", rest)
				require.NoError(t, s.Close())
				require.Empty(t, closed)
			})
		}
	})
}

// The accept func runs before any byte is read; what it writes goes out first.
func TestAcceptFuncGreets(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			_, err := c.Write([]byte("hello\n"))
			return reactor.DataFunc(echo), err
		}, nil)
		for range 5 {
			cl := s.dial()
			cl.expect("hello\n")
			cl.send("x")
			cl.expect("x")
		}
	})
}

// An error of the accept func refuses: nothing written is sent, no method of a handler is called, nothing is left behind.
func TestAcceptErrorRefuses(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, size := range []int{0, 100, 20 << 10, 100 << 10, 1 << 20, 15 << 20} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				refs := make(chan reactor.Ref, 1)
				h := &hooks{close: func(*reactor.Conn, error) { t.Error("Close of a refused connection") }}
				s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
					refs <- c.Ref()
					_, _ = c.Write(make([]byte, size))
					return h, errors.New("refused")
				}, nil)
				cl := s.dial()
				ref := receive(t, refs)
				n, err := io.Copy(io.Discard, cl)
				require.Zero(t, n, "bytes of a refused connection")
				if err != nil {
					require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
				}
				eventually(t, "the Ref is stale", func() bool { _, err := ref.Write([]byte("x")); return errors.Is(err, net.ErrClosed) })
				_, found := s.ByID(ref.ID())
				require.False(t, found)
				require.Zero(t, s.Buffered(), "bytes accounted for")
			})
		}
	})
}

// A nil handler without an error is a mistake that is logged; it refuses.
func TestAcceptNothing(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, func(*reactor.Conn) (reactor.Handler, error) { return nil, nil }, nil)
	s.dial().expectGone()
	eventually(t, "a log line", func() bool { return s.Log.has("neither handler nor error") })
}

// A handler may be shared by all connections or made for each; both see their own bytes.
func TestHandlerPerConnection(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
			count := 0
			return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				count += len(in)
				_, err := c.Write([]byte{byte(count)})
				return len(in), err
			}), nil
		}, nil)
		one, two := s.dial(), s.dial()
		for i := range 3 {
			one.send("x")
			one.expect(string(rune(i + 1)))
		}
		two.send("x")
		two.expect("\x01")
	})
}

// An error of Data closes like Close does: what was written before it arrives.
func TestErrorOfDataSendsWhatWasWritten(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		big, cause := pattern(3<<20), errors.New("done")
		ends := make(chan error, 1)
		s := tr.serve(t, shared(&hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				_, err := c.Write(big)
				return len(in), errors.Join(err, cause)
			},
			close: func(_ *reactor.Conn, err error) { ends <- err },
		}), nil)
		cl := s.dial()
		cl.send("x")
		cl.expectStream(big)
		require.ErrorIs(t, receive(t, ends), cause)
	})
}

// The base handler says how the peer ended: io.EOF if everything was consumed, else io.ErrUnexpectedEOF.
func TestBaseTellsHowThePeerEnded(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, consume := range []int{0, 3} {
			ends := make(chan error, 1)
			s := tr.serve(t, shared(&hooks{
				data:  func(*reactor.Conn, []byte) (int, error) { return consume, nil },
				close: func(_ *reactor.Conn, err error) { ends <- err },
			}), nil)
			cl := s.dial()
			_, err := cl.Write([]byte("abc"))
			require.NoError(t, err)
			require.NoError(t, cl.CloseWrite())
			if consume == 3 {
				require.ErrorIs(t, receive(t, ends), io.EOF)
			} else {
				require.ErrorIs(t, receive(t, ends), io.ErrUnexpectedEOF)
			}
		}
	})
}

// Write never keeps its argument, small or large, whether the peer reads or not.
func TestWriteKeepsNothing(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		sizes := []int{1, 1000, 16<<10 - 1, 16 << 10, 64 << 10, 64<<10 + 1, 3 << 20, 5, 70 << 10}
		var want []byte
		for i, n := range sizes {
			p := pattern(n)
			p[0] = byte(i)
			want = append(want, p...)
		}
		s := tr.serve(t, shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			buf := make([]byte, 3<<20)
			at := 0
			for _, n := range sizes {
				p := buf[:n]
				copy(p, want[at:])
				at += n
				if m, err := c.Write(p); err != nil || m != n {
					return 0, fmt.Errorf("wrote %d of %d: %w", m, n, err)
				}
				clear(p)
			}
			return len(in), c.Close()
		})), nil)
		cl := s.dial()
		cl.send("x")
		cl.expectStream(want)
	})
}

// Small and large writes, framed and plain, leave in the order in which they were made.
func TestWritesKeepTheirOrder(t *testing.T) {
	frames := codec.LengthPrefix(4, 1<<20)
	forEachTransport(t, func(t *testing.T, tr transport) {
		for range 4 {
			seed := rand.Uint64()
			rnd := rand.New(rand.NewPCG(seed, 0))
			wants := make(chan []byte, 1)
			s := tr.serve(t, shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				var want []byte
				for range 200 {
					p := randomBytes(rnd, rnd.IntN(1<<rnd.IntN(18)+1))
					var err error
					if rnd.IntN(3) == 0 {
						want, _ = frames.AppendFrame(want, p)
						err = c.Send(frames, p)
					} else {
						want = append(want, p...)
						_, err = c.Write(p)
					}
					if err != nil {
						return 0, err
					}
				}
				wants <- want
				return len(in), c.Close()
			})), nil)
			cl := s.dial()
			cl.send("x")
			cl.expectStream(receive(t, wants), "seed %d", seed)
		}
	})
}

// Output of far more pieces than one system call takes (IOV_MAX is 1024).
func TestManyParts(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		const pieces = 5000
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		var want []byte
		for i := range pieces {
			p := fmt.Appendf(nil, "%d,", i)
			want = append(want, p...)
			_, err := ref.Write(p)
			require.NoError(t, err)
		}
		require.NoError(t, ref.Close())
		release()
		cl.expectStream(want)
	})
}

// 100 MiB made by a handler that stops when it is blocked and goes on when it is writable, through marks of 8 and 16 KiB.
func TestHundredMegabytesThroughSmallMarks(t *testing.T) {
	size := 100 << 20
	if testing.Short() || raceBuild {
		size = 10 << 20
	}
	opts := &reactor.StreamOptions{HighWater: 16 << 10, LowWater: 8 << 10}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		unit := pattern(5000)
		most, writables := 0, 0
		blocked, ends := make(chan struct{}), make(chan error, 1)
		left := size
		produce := func(c *reactor.Conn) {
			for left > 0 && !c.Blocked() {
				p := unit[:min(left, len(unit))]
				if _, err := c.Write(p); err != nil {
					panic(err)
				}
				left -= len(p)
				most = max(most, c.Unsent())
			}
			if c.Blocked() && writables == 0 {
				close(blocked)
			}
			if left == 0 {
				_ = c.Close()
			}
		}
		s := tr.serve(t, shared(&hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				produce(c)
				return len(in), nil
			},
			writable: func(c *reactor.Conn) {
				writables++
				if c.Unsent() >= opts.LowWater || c.Blocked() {
					panic("writable above the low-water mark")
				}
				produce(c)
			},
			close: func(_ *reactor.Conn, err error) { ends <- err },
		}), opts)
		cl := s.dialNarrow()
		cl.send("x")
		receive(t, blocked) // who reads as fast as all is written would never see that
		chunk, total := make([]byte, 64<<10), 0
		for {
			n, err := cl.Read(chunk)
			for i, b := range chunk[:n] {
				if b != unit[(total+i)%len(unit)] {
					require.FailNow(t, "wrong byte", "at %d", total+i)
				}
			}
			total += n
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
		}
		require.Equal(t, size, total)
		require.NoError(t, receive(t, ends))
		require.Positive(t, writables)
		require.LessOrEqual(t, most, opts.HighWater+len(unit), "bytes unsent at most")
	})
}

// Empty writes do nothing at all.
func TestZeroByteWrites(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			for _, p := range [][]byte{nil, {}, in, nil} {
				if n, err := c.Write(p); n != len(p) || err != nil {
					return 0, fmt.Errorf("%d, %w", n, err)
				}
			}
			return len(in), nil
		}))
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		for range 10 {
			_, err := ref.Write(nil)
			require.NoError(t, err)
			cl.send("x")
			cl.expect("x")
		}
		require.NoError(t, ref.Close())
		cl.expectEOF()
	})
}

// A handler writes to other connections of its loop: a room where everyone hears everyone.
func TestWriteToOtherConnections(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		members := map[*reactor.Conn]bool{}
		h := &hooks{
			data: func(_ *reactor.Conn, in []byte) (int, error) {
				for m := range members {
					if _, err := m.Write(in); err != nil {
						return 0, err
					}
					if _, err := m.Write([]byte(".")); err != nil {
						return 0, err
					}
				}
				return len(in), nil
			},
			close: func(c *reactor.Conn, _ error) {
				delete(members, c)
				for m := range members {
					_, _ = m.Write([]byte("one left."))
				}
			},
		}
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			members[c] = true
			_, err := c.Write([]byte("welcome."))
			return h, err
		}, nil)
		var clients []client
		for range 10 {
			cl := s.dial()
			cl.expect("welcome.")
			clients = append(clients, cl)
		}
		for i, cl := range clients {
			said := fmt.Sprintf("client %d says hello", i)
			cl.send(said)
			for _, other := range clients {
				other.expect(said + ".")
			}
		}
		require.NoError(t, clients[0].Close())
		for _, other := range clients[1:] {
			other.expect("one left.")
		}
	})
}

// Write is refused once MaxOutput is reached, not before; one Write may pass it. Nothing of a refused one is sent and the
// connection stays as it is.
func TestOverflow(t *testing.T) {
	opts := &reactor.StreamOptions{HighWater: 64 << 10, MaxOutput: 256 << 10}
	last := []struct {
		name  string
		sizes []int // written when the limit is so far away: -1 stands for all but one byte of it
		taken []bool
	}{
		{"just below, at", []int{opts.MaxOutput - 1, 1, 1}, []bool{true, true, false}},
		{"at once", []int{opts.MaxOutput, 1, 0}, []bool{true, false, false}},
		{"above", []int{opts.MaxOutput - 1, 1 << 20, 1}, []bool{true, true, false}},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, row := range last {
			t.Run(row.name, func(t *testing.T) {
				frames := codec.LengthPrefix(4, 0)
				accept, refs := accepted(&hooks{})
				s := tr.serve(t, accept, opts)
				cl := s.dial()
				ref := receive(t, refs)
				total := 0
				do(t, ref, func(c *reactor.Conn) {
					for c.Unsent() == 0 { // fill what the kernel holds
						n, err := c.Write(make([]byte, 32<<10))
						require.NoError(t, err)
						total += n
					}
					base := c.Unsent()
					for i, size := range row.sizes {
						if i == 0 {
							size -= base
						}
						n, err := c.Write(make([]byte, size))
						if row.taken[i] {
							require.NoError(t, err)
							require.Equal(t, size, n)
						} else {
							require.ErrorIs(t, err, reactor.ErrOverflow)
							require.Zero(t, n)
							require.ErrorIs(t, c.Send(frames, nil), reactor.ErrOverflow)
						}
						total += n
					}
				})
				_, err := ref.Write([]byte("x"))
				require.ErrorIs(t, err, reactor.ErrOverflow, "through the Ref")
				require.ErrorIs(t, ref.Send(frames, nil), reactor.ErrOverflow)
				cl.expect(string(make([]byte, total)))
				eventually(t, "room again", func() bool { _, err := ref.Write([]byte("x")); return err == nil })
				cl.expect("x")
			})
		}
	})
}

// What the kernel takes meanwhile does not count: within one call a handler may write more than the limit.
func TestOverflowCountsWhatIsUnsent(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, &reactor.StreamOptions{HighWater: 1000, MaxOutput: 1000})
		cl := s.dial()
		ref := receive(t, refs)
		do(t, ref, func(c *reactor.Conn) {
			for range 100 {
				_, err := c.Write(make([]byte, 100))
				require.NoError(t, err)
				require.Less(t, c.Unsent(), 1000)
			}
		})
		cl.read(100 * 100)
	})
}

// After CloseWrite nothing can be written, and what comes is still delivered.
func TestCloseWrite(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		big := pattern(2 << 20)
		errs, got, ends := make(chan error, 10), make(chan string, 10), make(chan error, 1)
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			_, _ = c.Write(big)
			errs <- c.CloseWrite()
			errs <- c.CloseWrite()
			_, err := c.Write([]byte("x"))
			errs <- err
			errs <- c.Send(codec.Raw(), []byte("x"))
			return &hooks{
				data: func(_ *reactor.Conn, in []byte) (int, error) {
					got <- string(in)
					return len(in), nil
				},
				close: func(_ *reactor.Conn, err error) { ends <- err },
			}, nil
		}, nil)
		cl := s.dial()
		require.NoError(t, receive(t, errs))
		require.NoError(t, receive(t, errs))
		require.ErrorIs(t, receive(t, errs), reactor.ErrWriteClosed)
		require.ErrorIs(t, receive(t, errs), reactor.ErrWriteClosed)
		cl.expectStream(big)
		cl.send("still here")
		require.Equal(t, "still here", receive(t, got))
		require.NoError(t, cl.CloseWrite())
		require.ErrorIs(t, receive(t, ends), io.EOF)
	})
}

// After Close every method answers net.ErrClosed or does nothing; ID and tuple stay.
func TestMethodsAfterClose(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ended := make(chan *reactor.Conn, 1)
		check := func(c *reactor.Conn) {
			_, err := c.Write([]byte("x"))
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, c.Send(codec.Raw(), []byte("x")), net.ErrClosed)
		}
		accept, refs := accepted(&hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				require.NoError(t, c.Close())
				check(c)
				return len(in), nil
			},
			close: func(c *reactor.Conn, _ error) {
				check(c)
				ended <- c
			},
		})
		s := tr.serve(t, accept, nil)
		first := s.dial()
		ref := receive(t, refs)
		other := s.dial()
		otherRef := receive(t, refs)
		first.send("x")
		c := receive(t, ended)
		first.expectEOF()
		do(t, otherRef, func(*reactor.Conn) {
			check(c)
			require.ErrorIs(t, c.Close(), net.ErrClosed)
			require.ErrorIs(t, c.CloseWrite(), net.ErrClosed)
			c.Abort()
			c.Pause()
			c.Resume()
			c.Need(7)
			c.Hold()()
			require.Zero(t, c.Unsent())
			require.Equal(t, ref.ID(), c.ID())
			require.Equal(t, ref.Tuple(), c.Tuple())
			require.True(t, ref == c.Ref())
		})
		other.send("y")
		other.expectEOF()
	})
}

// A descriptor whose O_NONBLOCK someone cleared does not freeze the process: neither reading nor writing blocks its loop.
func TestClearedNonBlockingFlag(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(reactor.DataFunc(echo))
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		do(t, ref, func(c *reactor.Conn) { require.NoError(t, setNonblock(c.FD(), false)) })
		other := s.dial()
		// Reading: nothing is there; the loop looks for it on every turn that is made for another reason.
		cl.send("x")
		cl.expect("x")
		// Writing: far more than the kernel holds, to a client that does not read.
		_, err := ref.Write(make([]byte, 8<<20))
		require.NoError(t, err)
		for range 20 {
			other.send("ping")
			other.expect("ping")
			collectGarbage(t)
		}
		_, err = io.CopyN(io.Discard, cl, 8<<20)
		require.NoError(t, err)
		cl.send("y")
		cl.expect("y")
	})
}
