// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package gnetcodec_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/panjf2000/gnet/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/gnetcodec"
)

// Whatever arrives together, is left in the loop and comes later: the frames are those of the whole.
func TestReaderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wire := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 5, 'a', '\n'}), 0, 60).Draw(t, "wire")
		dec := rapid.SampledFrom([]codec.Decoder{
			codec.LengthPrefix(1, 70), codec.LengthPrefix(2, 0), codec.Fixed(3), codec.Line(5), codec.Varint(50),
		}).Draw(t, "decoder")
		var want, got []string
		var wantErr, gotErr error
		for payload, err := range codec.Frames(wire, dec) {
			if wantErr = err; err == nil {
				want = append(want, string(payload))
			}
		}

		c := &fakeConn{}
		r := gnetcodec.NewReader(c, dec)
		for len(wire) > 0 {
			n := rapid.IntRange(0, len(wire)).Draw(t, "read")
			c.arrive(wire[:n])
			wire = wire[n:]
			for more := true; more; {
				more = false
				for payload, err := range r.Frames() {
					if err != nil {
						gotErr = err
						continue
					}
					require.NotNil(t, payload)
					require.Equal(t, len(payload), cap(payload))
					got = append(got, string(payload))
					if rapid.Bool().Draw(t, "break") {
						more = true
						break
					}
				}
			}
			require.Zero(t, c.InboundBuffered())
		}
		if gotErr != nil {
			require.Equal(t, gotErr, r.End(nil))
		}
		if err := r.End(io.EOF); gotErr == nil && err != io.EOF {
			gotErr = err
		}
		require.Equal(t, want, got)
		require.Equal(t, wantErr, gotErr)
	})
}

func TestReaderEnd(t *testing.T) {
	eof := os.NewSyscallError("read", io.EOF) // as gnet says it
	broken := errors.New("broken")
	for _, test := range []struct {
		wire        string
		cause, want error
	}{
		{"", eof, io.EOF},
		{"\x01a", eof, io.EOF},
		{"\x01a\x02b", eof, &codec.TruncatedError{Have: 2, Need: 3}},
		{"\x01a\x02b", broken, broken},
		{"\x01a\x02b", nil, nil},
		{"\x01a\x09", eof, &codec.TooLongError{Length: 10, Max: 8}},
		{"\x01a\x09", nil, &codec.TooLongError{Length: 10, Max: 8}},
	} {
		c := &fakeConn{}
		r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 8))
		c.arrive([]byte(test.wire))
		for range r.Frames() {
		}
		require.Equal(t, test.want, r.End(test.cause), "%q", test.wire)
	}
}

func TestReaderErrorIsFinal(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 8))
	for _, read := range []string{"\x01a\x09", "\x01b", ""} {
		c.arrive([]byte(read))
		var errs []error
		for _, err := range r.Frames() {
			if err != nil {
				errs = append(errs, err)
			}
		}
		require.Equal(t, []error{&codec.TooLongError{Length: 10, Max: 8}}, errs)
		require.Zero(t, c.InboundBuffered(), "what a broken stream brings is not kept")
	}
}

func TestReaderSetDecoder(t *testing.T) {
	const wire = "hello" + "\x00\x02ab" + "\x00\x00" + "\x00\x01c"
	for size := 1; size <= len(wire); size++ {
		c := &fakeConn{}
		r := gnetcodec.NewReader(c, codec.Fixed(5))
		var got []string
		for rest := wire; rest != ""; {
			n := min(size, len(rest))
			c.arrive([]byte(rest[:n]))
			rest = rest[n:]
			for payload, err := range r.Frames() {
				require.NoError(t, err)
				got = append(got, string(payload))
				r.SetDecoder(codec.LengthPrefix(2, 0))
			}
		}
		require.Equal(t, []string{"hello", "ab", "", "c"}, got)
	}
}

// Also in the middle of what would have been a frame.
func TestReaderSetDecoderWhileWaiting(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 0))
	c.arrive([]byte("\x05abc"))
	for range r.Frames() {
		require.Fail(t, "a frame")
	}
	r.SetDecoder(codec.Fixed(4))
	var got []string
	for payload, err := range r.Frames() {
		require.NoError(t, err)
		got = append(got, string(payload))
	}
	require.Equal(t, []string{"\x05abc"}, got)
}

// A decoder that asks for no more than there is gets more before it is asked again.
func TestReaderOfDecoderWithoutNeed(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, needless{codec.LengthPrefix(1, 0)})
	var got []string
	for _, read := range []string{"\x02", "a", "b\x01"} {
		c.arrive([]byte(read))
		for payload, err := range r.Frames() {
			require.NoError(t, err)
			got = append(got, string(payload))
		}
	}
	require.Equal(t, []string{"ab"}, got)
	require.Equal(t, &codec.TruncatedError{Have: 1}, r.End(io.EOF))
}

// needless does not tell what its decoder needs.
type needless struct{ codec.Decoder }

func (n needless) Decode(src []byte, seen int) (payload []byte, size, need int, err error) {
	payload, size, _, err = n.Decoder.Decode(src, seen)
	return payload, size, 0, err
}

// What gnet has closed is left alone.
func TestReaderClosedInTheLoop(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 0))
	c.arrive([]byte("\x01a\x01b\x01"))
	var got []string
	for payload, err := range r.Frames() {
		got = append(got, fmt.Sprint(string(payload), err))
		c.closed = true
	}
	require.Equal(t, []string{"a<nil>", net.ErrClosed.Error()}, got)
	require.Equal(t, net.ErrClosed, r.End(nil))
}

// A handler that panics and is recovered has had its frame; the others are still there.
func TestReaderAfterPanic(t *testing.T) {
	for _, reads := range [][]string{{"\x01a\x01b\x01c"}, {"\x01", "a\x01b\x01c"}} {
		c := &fakeConn{}
		r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 0))
		var got []string
		traffic := func() {
			defer func() { recover() }()
			for payload := range r.Frames() {
				got = append(got, string(payload))
				panic("handler")
			}
		}
		for _, read := range append(reads, "", "", "") {
			c.arrive([]byte(read))
			traffic()
		}
		require.Equal(t, []string{"a", "b", "c"}, got)
	}
}

// A long frame that drips in is copied once, not with every read, and no space is reserved for what its header says.
func TestReaderLongFrame(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, codec.LengthPrefix(4, 1<<30))
	c.arrive([]byte{0x3f, 0xff, 0xff, 0xf0})
	require.Less(t, testing.AllocsPerRun(1, func() {
		for range 100_000 {
			c.arrive([]byte("x"))
			for range r.Frames() {
				require.Fail(t, "a frame")
			}
		}
	}), 100.0)
	require.Less(t, c.peeked, 300_000, "bytes looked at")
	require.Equal(t, &codec.TruncatedError{Have: 200_004, Need: 0x3ffffff4}, r.End(io.EOF))
}

func TestReaderAllocatesNothing(t *testing.T) {
	c := &fakeConn{}
	r := gnetcodec.NewReader(c, codec.LengthPrefix(1, 0))
	traffic := func() {
		for _, err := range r.Frames() {
			if err != nil {
				panic(err)
			}
		}
	}
	wire := []byte(strings.Repeat("\x03abc", 100) + "\x02")
	rest := []byte("ab")
	require.Zero(t, testing.AllocsPerRun(1_000, func() {
		c.arrive(wire)
		traffic()
		c.arrive(rest)
		traffic()
	}))
}

// Frames left in the loop come with a Wake; a connection closed in the loop ends it, in gnet's buffer and in the
// Reader's.
func TestReaderInGnet(t *testing.T) {
	h := &stepper{results: make(chan string, 9)}
	address, stop := run(h)
	defer stop()

	c := dial(t, address)
	_, err := io.WriteString(c, "\x01a\x01b\x01c")
	require.NoError(t, err)
	for _, want := range []string{"a <nil>", "b <nil>", "c <nil>"} {
		require.Equal(t, want, <-h.results)
	}
	require.NoError(t, c.CloseWrite())
	require.Equal(t, "end EOF", <-h.results)

	_, err = io.WriteString(dial(t, address), "\x05close\x01b")
	require.NoError(t, err)
	require.Equal(t, "close <nil>", <-h.results)
	require.Equal(t, "end <nil>", <-h.results)
	require.Equal(t, " "+net.ErrClosed.Error(), <-h.results)

	_, err = io.WriteString(dial(t, address), "\x01a\x05close\x01b")
	require.NoError(t, err)
	require.Equal(t, "a <nil>", <-h.results)
	require.Equal(t, "close <nil>", <-h.results)
	require.Equal(t, "end <nil>", <-h.results)
	require.Equal(t, " "+net.ErrClosed.Error(), <-h.results)
}

// A stepper takes a frame at a time, and closes the connection when one says so.
type stepper struct {
	gnet.BuiltinEventEngine
	results chan string
}

func (s *stepper) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(gnetcodec.NewReader(c, codec.LengthPrefix(1, 0)))
	return nil, gnet.None
}

func (s *stepper) OnTraffic(c gnet.Conn) gnet.Action {
	for payload, err := range c.Context().(*gnetcodec.Reader).Frames() {
		s.results <- fmt.Sprintf("%s %v", payload, err)
		if string(payload) == "close" {
			_ = c.EventLoop().Close(c)
			continue
		}
		if err == nil {
			_ = c.Wake(nil)
		}
		break
	}
	return gnet.None
}

func (s *stepper) OnClose(c gnet.Conn, err error) gnet.Action {
	s.results <- fmt.Sprintf("end %v", c.Context().(*gnetcodec.Reader).End(err))
	return gnet.None
}

// A fakeConn has gnet's traps: 0 means everything, and what was peeked at is overwritten once it is discarded.
type fakeConn struct {
	gnet.Conn
	in     []byte
	peeked int
	closed bool
}

func (c *fakeConn) arrive(p []byte) { c.in = append(c.in, p...) }

func (c *fakeConn) InboundBuffered() int { return len(c.in) }

func (c *fakeConn) Peek(n int) ([]byte, error) {
	if n <= 0 || n > len(c.in) {
		panic(fmt.Sprintf("Peek(%d) of %d bytes", n, len(c.in)))
	}
	c.peeked += n
	return c.in[:n], nil
}

func (c *fakeConn) Discard(n int) (int, error) {
	if n <= 0 || n > len(c.in) || c.closed {
		panic(fmt.Sprintf("Discard(%d) of %d bytes", n, len(c.in)))
	}
	for i := range c.in[:n] {
		c.in[i] = 0xff
	}
	c.in = append(c.in[:0], c.in[n:]...)
	return n, nil
}

var here net.Addr = &net.TCPAddr{}

func (c *fakeConn) LocalAddr() net.Addr {
	if c.closed {
		return nil
	}
	return here
}
