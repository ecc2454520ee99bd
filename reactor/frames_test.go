// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// framings are the codecs these tests use, with a payload that each can carry. What a codec cuts where is codec's own
// test.
var framings = []struct {
	name    string
	codec   codec.Codec
	payload func(i int) string
}{
	{"Fixed", codec.Fixed(8), func(i int) string { return fmt.Sprintf("%08d", i) }},
	{"LengthPrefix", codec.LengthPrefix(2, 1000), func(i int) string { return strings.Repeat("x", i%50) + fmt.Sprint(i) }},
}

// wire frames payload 0 to n-1.
func wire(t testing.TB, enc codec.Encoder, n int, payload func(i int) string) []byte {
	var p []byte
	for i := range n {
		var err error
		p, err = enc.AppendFrame(p, []byte(payload(i)))
		require.NoError(t, err)
	}
	return p
}

// However the network cuts the stream, the handler sees whole frames, in order, and its answers come back in order.
func TestFramesAreWholeHoweverCut(t *testing.T) {
	cuts := []struct {
		name    string
		frames  int
		pieceOf int
	}{
		{"byte by byte", 20, 1},
		{"three bytes at a time", 50, 3},
		{"all at once", 1000, math.MaxInt},
		{"beyond one turn's frames", 10000, math.MaxInt},
		{"in odd pieces", 3000, 997},
	}
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, tr transport) {
				s := tr.serve(t, shared(reactor.Frames(f.codec, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
					return c.Send(f.codec, payload)
				}))), nil)
				for _, cut := range cuts {
					t.Run(cut.name, func(t *testing.T) {
						stream := wire(t, f.codec, cut.frames, f.payload)
						cl := s.dial()
						go func() {
							for rest := stream; len(rest) > 0; {
								n := min(cut.pieceOf, len(rest))
								if _, err := cl.Write(rest[:n]); err != nil {
									return // the reader tells
								}
								rest = rest[n:]
							}
							_ = cl.CloseWrite()
						}()
						cl.expectStream(stream)
					})
				}
			})
		})
	}
}

// Frames without content are frames.
func TestEmptyFrames(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		frames := codec.LengthPrefix(2, 100)
		s := tr.serve(t, shared(reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
			if payload == nil || len(payload) > 0 {
				return errors.New("not empty")
			}
			return c.Send(frames, payload)
		}))), nil)
		cl := s.dial()
		stream := make([]byte, 2*1000)
		_, err := cl.Write(stream)
		require.NoError(t, err)
		require.NoError(t, cl.CloseWrite())
		cl.expectStream(stream)
	})
}

// One connection's endless frames do not keep the others waiting: they have their turn after 256.
func TestFramesOfOthersHaveTheirTurn(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		frames := codec.LengthPrefix(1, 100)
		const flood = 5000
		handled, sinceOther, most := 0, 0, 0
		first := make(chan struct{}, 1)
		h := reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
			if len(payload) == 0 {
				if handled++; handled == 1 {
					first <- struct{}{}
				}
				sinceOther++
				most = max(most, sinceOther)
				return nil
			}
			sinceOther = 0
			return c.Send(frames, payload)
		}))
		accept, refs := accepted(h)
		s := tr.serve(t, accept, nil)
		flooder, other := s.dial(), s.dial()
		ref := receive(t, refs)
		release := block(t, ref) // until both have something to be read
		_, err := flooder.Write(make([]byte, flood))
		require.NoError(t, err)
		other.send("\x01x")
		release()
		receive(t, first)
		other.expect("\x01x")
		do(t, ref, func(*reactor.Conn) {
			// The other's frame was ready all the time: at most the turn that was running and one more came before it.
			require.Less(t, handled-sinceOther, flood)
		})
		eventually(t, "all frames handled", func() bool {
			n := 0
			do(t, ref, func(*reactor.Conn) { n = handled })
			return n == flood
		})
	})
}

// A decoding error closes: the frames before it are handled and their answers sent, and Close gets the error.
func TestDecodeErrorClosesAfterAnswers(t *testing.T) {
	frames := codec.LengthPrefix(2, 100)
	big := strings.Repeat("y", 40)
	rows := []struct {
		name   string
		stream string
		answer string
		length uint64
	}{
		{"at once", "\xff\xff", "", 65537},
		{"after a frame", "\x00\x01a\x00\x63", "\x00\x01a", 101},
		{"after many", strings.Repeat("\x00\x28"+big, 2000) + "\x10\x00rest", strings.Repeat("\x00\x28"+big, 2000), 4098},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				ends := make(chan error, 1)
				s := tr.serve(t, shared(reactor.Frames(frames, &frameHooks{
					frame: func(c *reactor.Conn, payload []byte) error { return c.Send(frames, payload) },
					hooks: hooks{close: func(_ *reactor.Conn, err error) { ends <- err }},
				})), nil)
				cl := s.dial()
				go func() { _, _ = cl.Write([]byte(row.stream)) }()
				cl.expectStream([]byte(row.answer))
				var tooLong *codec.TooLongError
				require.ErrorAs(t, receive(t, ends), &tooLong)
				require.Equal(t, row.length, tooLong.Length)
				require.Equal(t, 100, tooLong.Max)
			})
		}
	})
}

// The peer's end inside a frame is a *codec.TruncatedError with the numbers; between frames it is io.EOF.
func TestTruncatedEnd(t *testing.T) {
	rows := []struct {
		name   string
		codec  codec.Codec
		stream string
		want   error
	}{
		{"nothing", codec.Fixed(4), "", io.EOF},
		{"between frames", codec.Fixed(4), "abcdefgh", io.EOF},
		{"inside the first", codec.Fixed(4), "ab", &codec.TruncatedError{Have: 2, Need: 4}},
		{"inside the second", codec.Fixed(4), "abcdefg", &codec.TruncatedError{Have: 3, Need: 4}},
		{"inside a header", codec.LengthPrefix(4, 0), "\x00", &codec.TruncatedError{Have: 1, Need: 4}},
		{"inside a payload", codec.LengthPrefix(2, 0), "\x00\x05abc", &codec.TruncatedError{Have: 5, Need: 7}},
		{"inside a large payload", codec.LengthPrefix(4, 16<<20), "\x00\x80\x00\x00abc", &codec.TruncatedError{Have: 7, Need: 4 + 8<<20}},
		{"inside a huge payload", codec.LengthPrefix(4, math.MaxInt), "\x40\x00\x00\x00abc", &codec.TruncatedError{Have: 7, Need: 4 + 1<<30}},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				for _, drip := range []bool{false, true} {
					ends := make(chan error, 1)
					s := tr.serve(t, shared(reactor.Frames(row.codec, &frameHooks{
						frame: func(*reactor.Conn, []byte) error { return nil },
						hooks: hooks{close: func(_ *reactor.Conn, err error) { ends <- err }},
					})), nil)
					cl := s.dial()
					if drip {
						for i := range row.stream {
							cl.send(row.stream[i : i+1])
						}
					} else {
						cl.send(row.stream)
					}
					require.NoError(t, cl.CloseWrite())
					err := receive(t, ends)
					require.Equal(t, row.want, err)
					if row.want != io.EOF {
						require.ErrorIs(t, err, io.ErrUnexpectedEOF)
					}
					cl.expectEOF()
				}
			})
		}
	})
}

// An error of the frame handler closes: frames behind it are not handled, what was answered is sent, Close gets the
// error.
func TestErrorOfFrame(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		enough := errors.New("enough")
		ends := make(chan error, 1)
		count := 0 // read when ends has told
		s := tr.serve(t, shared(reactor.Frames(codec.Fixed(2), &frameHooks{
			frame: func(c *reactor.Conn, payload []byte) error {
				_, _ = c.Write(payload)
				if count++; count == 3 {
					return enough
				}
				return nil
			},
			hooks: hooks{close: func(_ *reactor.Conn, err error) { ends <- err }},
		})), nil)
		cl := s.dial()
		cl.send("aabbccddee")
		require.Equal(t, "aabbcc", cl.rest())
		require.ErrorIs(t, receive(t, ends), enough)
		require.Equal(t, 3, count)
	})
}

// Close inside a batch of frames stops it at once.
func TestCloseInsideABatch(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		count := 0
		ends := make(chan error, 1)
		s := tr.serve(t, shared(reactor.Frames(codec.Fixed(2), &frameHooks{
			frame: func(c *reactor.Conn, payload []byte) error {
				count++
				_, _ = c.Write(payload)
				return c.Close()
			},
			hooks: hooks{close: func(_ *reactor.Conn, err error) { ends <- err }},
		})), nil)
		cl := s.dial()
		cl.send("aabbccddee")
		require.Equal(t, "aa", cl.rest())
		require.NoError(t, receive(t, ends))
		require.Equal(t, 1, count)
	})
}

// Pause in the middle of a batch stops delivery at once; Resume goes on without a new byte.
func TestPauseInsideABatch(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		got := make(chan string, 1000)
		accept, refs := accepted(reactor.Frames(codec.Fixed(3), reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
			got <- string(payload)
			c.Pause()
			return nil
		})))
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		const frames = 300
		cl.send(string(wire(t, codec.Fixed(3), frames, func(i int) string { return fmt.Sprintf("%03d", i) })) + "x")
		for i := range frames {
			require.Equal(t, fmt.Sprintf("%03d", i), receive(t, got))
			do(t, ref, func(*reactor.Conn) {}) // a turn passes,
			require.Empty(t, got, "delivered while paused")
			do(t, ref, (*reactor.Conn).Resume)
		}
		// The peer's end is noticed after a Resume, with what is left.
		require.NoError(t, cl.CloseWrite())
		cl.expectEOF()
	})
}

// A peer that does not read its answers stops its own frames, in the middle of a batch; they go on when it reads.
func TestAnswersNotReadStopFrames(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		const frames = 20000
		const answer = 1000
		handled, most := 0, 0
		tr.loops = 1
		opts := &reactor.StreamOptions{HighWater: 32 << 10}
		done := make(chan struct{}, 1)
		accept, refs := accepted(reactor.Frames(codec.Fixed(1), &frameHooks{
			frame: func(c *reactor.Conn, _ []byte) error {
				handled++
				_, err := c.Write(make([]byte, answer))
				most = max(most, c.Unsent())
				return err
			},
			hooks: hooks{close: func(*reactor.Conn, error) { done <- struct{}{} }},
		}))
		s := tr.serve(t, accept, opts)
		cl := s.dial()
		require.NoError(t, cl.SetReadBuffer(64<<10))
		ref := receive(t, refs)
		_, err := cl.Write(make([]byte, frames))
		require.NoError(t, err)
		require.NoError(t, cl.CloseWrite())
		eventually(t, "blocked", func() (blocked bool) {
			do(t, ref, func(c *reactor.Conn) { blocked = c.Blocked() })
			return blocked
		})
		do(t, ref, func(*reactor.Conn) { require.Less(t, handled, frames) })
		n, err := io.Copy(io.Discard, cl)
		require.NoError(t, err)
		require.EqualValues(t, frames*answer, n)
		receive(t, done)
		require.LessOrEqual(t, most, opts.HighWater+answer)
	})
}

// A frame of 8 MiB passes a MaxInput of 1 MiB, which the codec raises, and its buffer grows with what comes: a header
// that promises much reserves nothing.
func TestLargeFrames(t *testing.T) {
	frames := codec.LengthPrefix(4, 16<<20)
	forEachTransport(t, func(t *testing.T, tr transport) {
		got := make(chan []byte, 1)
		accept, refs := accepted(reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
			got <- append([]byte(nil), payload...)
			return c.Send(frames, []byte("ok"))
		})))
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		sent := pattern(8 << 20)
		header := binary.BigEndian.AppendUint32(nil, uint32(len(sent)))
		_, err := cl.Write(header)
		require.NoError(t, err)
		// With sent bytes there, no more than twice them and 64 KiB is held.
		at := 0
		for _, until := range []int{0, 1, 100, 5000, 100 << 10, 1 << 20, 3 << 20} {
			_, err := cl.Write(sent[at:until])
			require.NoError(t, err)
			at = until
			eventually(t, fmt.Sprintf("%d bytes arrived", until), func() bool { return s.Buffered() >= int64(len(header)+until) })
			do(t, ref, func(*reactor.Conn) {})
			require.LessOrEqual(t, s.Buffered(), int64(2*(len(header)+until)+64<<10+8<<10), "bytes held for %d that came", until)
		}
		_, err = cl.Write(sent[at:])
		require.NoError(t, err)
		cl.expect("\x00\x00\x00\x02ok")
		requireSame(t, sent, receive(t, got))
		do(t, ref, func(*reactor.Conn) {})
		require.Zero(t, s.Buffered(), "the buffer is given back")
	})
}

// A handler that does not want to end at the peer's end keeps the connection for writing.
func TestFramesKeptOpenAfterEOF(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		rests := make(chan string, 1)
		accept, refs := accepted(reactor.Frames(codec.Fixed(4), &frameHooks{
			frame: func(*reactor.Conn, []byte) error { return nil },
			hooks: hooks{eof: func(_ *reactor.Conn, rest []byte) error {
				rests <- string(rest)
				return nil
			}},
		}))
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		cl.send("abcdef")
		require.NoError(t, cl.CloseWrite())
		require.Equal(t, "ef", receive(t, rests))
		_, err := ref.Write([]byte("later"))
		require.NoError(t, err)
		cl.expect("later")
		require.NoError(t, ref.Close())
		cl.expectEOF()
	})
}

// Send tells the encoder's error; nothing is written then.
func TestSendTellsTheEncodersError(t *testing.T) {
	frames := careless{codec.Fixed(2)}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		var wrong *codec.PayloadError
		do(t, ref, func(c *reactor.Conn) {
			require.NoError(t, c.Send(frames, []byte("ab")))
			require.ErrorAs(t, c.Send(frames, []byte("abc")), &wrong)
			require.NoError(t, c.Send(frames, []byte("cd")))
			_, err := c.Write(make([]byte, 8<<20)) // from here on there is a queue
			require.NoError(t, err)
			require.ErrorAs(t, c.Send(frames, []byte("abc")), &wrong)
			require.NoError(t, c.Send(frames, []byte("ef")))
		})
		require.ErrorAs(t, ref.Send(frames, []byte("abc")), &wrong)
		require.NoError(t, ref.Send(frames, []byte("gh")))
		require.NoError(t, ref.Close())
		want := append([]byte("abcd"), make([]byte, 8<<20)...)
		cl.expectStream(append(want, "efgh"...))
	})
}

// careless is an encoder that returns nothing with an error, as many functions do; it should return dst.
type careless struct{ codec.Encoder }

func (e careless) AppendFrame(dst, payload []byte) ([]byte, error) {
	frame, err := e.Encoder.AppendFrame(dst, payload)
	if err != nil {
		return nil, err
	}
	return frame, nil
}
