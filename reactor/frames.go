// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"io"

	"github.com/quartet-go/quartet/codec"
)

// maxFramesPerTurn bounds how many frames of one connection are handled before the other connections of its loop have
// their turn.
const maxFramesPerTurn = 256

// A FrameHandler is a Handler with Frame in place of Data. A decoding error closes the connection after the frames
// before it were handled and their answers sent; it arrives in Close.
type FrameHandler interface {
	// Frame is called for each frame. payload is valid only until Frame returns. An error closes the connection as
	// Close does; Close gets it.
	Frame(c *Conn, payload []byte) error

	// EOF, Writable and Close are those of Handler. What EOF gets in rest is an unfinished frame.
	EOF(c *Conn, rest []byte) error
	Writable(c *Conn)
	Close(c *Conn, err error)
}

// FrameFunc makes a FrameHandler of a function that is its Frame. At the peer's end it sends what is buffered and
// closes: with io.EOF between frames, with a *codec.TruncatedError, which is an io.ErrUnexpectedEOF, inside one.
type FrameFunc func(c *Conn, payload []byte) error

// Frame calls f.
func (f FrameFunc) Frame(c *Conn, payload []byte) error { return f(c, payload) }

// EOF returns io.EOF if rest is empty and a *codec.TruncatedError if not.
func (f FrameFunc) EOF(c *Conn, rest []byte) error { return FrameBase{}.EOF(c, rest) }

// Writable does nothing.
func (f FrameFunc) Writable(*Conn) {}

// Close does nothing.
func (f FrameFunc) Close(*Conn, error) {}

// FrameBase is what Base is to a Handler; it differs in naming the truncated frame's numbers.
type FrameBase struct{ Base }

// EOF returns io.EOF if rest is empty and a *codec.TruncatedError if not.
func (FrameBase) EOF(c *Conn, rest []byte) error {
	if len(rest) > 0 {
		return &codec.TruncatedError{Have: len(rest), Need: c.need}
	}
	return io.EOF
}

// Frames makes a Handler that cuts the stream into frames with dec and hands each to h. The value holds no state of a
// connection, so one serves any number of them. Unconsumed input is bounded by MaxInput or dec's own
// maximum (its method Max() int, where it has one), whichever is larger.
func Frames(dec codec.Decoder, h FrameHandler) Handler {
	f := &frames{FrameHandler: h, dec: dec, kind: codecKind(dec)}
	if m, ok := dec.(interface{ Max() int }); ok {
		f.max = m.Max()
	}
	return f
}

type frames struct {
	FrameHandler
	dec  codec.Decoder
	max  int
	kind int // of dec, for counting
}

// maxInput tells the connection how much unconsumed input its handler may need.
func (f *frames) maxInput() int { return f.max }

// Draining passes Shutdown's notice on to a FrameHandler that wants it.
func (f *frames) Draining(c *Conn) {
	if d, ok := f.FrameHandler.(Drainer); ok {
		d.Draining(c)
	}
}

// EOF counts a stream that ended inside a frame.
func (f *frames) EOF(c *Conn, rest []byte) error {
	if len(rest) > 0 {
		c.loop.counts.codecs[f.kind].Truncated++
	}
	return f.FrameHandler.EOF(c, rest)
}

// Data decodes until in holds no further frame, the frame handler stopped delivery, or it is the others' turn.
func (f *frames) Data(c *Conn, in []byte) (consumed int, err error) {
	l := c.loop
	counts := &l.counts.codecs[f.kind]
	for range maxFramesPerTurn {
		rest := in[consumed:]
		if len(rest) == 0 {
			return consumed, nil
		}
		payload, n, need, err := f.dec.Decode(rest, int(c.seen))
		if err != nil {
			counts.failed(err)
			return consumed, err
		}
		if n == 0 {
			counts.Partial++
			c.note(TracePartial, len(rest), need)
			c.seen = int32(len(rest))
			c.need = need
			return consumed, nil
		}
		c.seen = 0
		consumed += n
		l.delivered = consumed
		counts.Frames++
		if l.rings == nil {
			err = f.Frame(c, payload)
		} else {
			err = f.traced(c, payload, n)
		}
		if err != nil {
			return consumed, err
		}
		if c.stopped() || c.flags&fAgain != 0 { // SetHandler may have been called
			return consumed, nil
		}
	}
	c.continueLater()
	return consumed, nil
}

// traced is Frame with a span in the trace.
func (f *frames) traced(c *Conn, payload []byte, n int) error {
	mark := c.loop.mark()
	err := f.Frame(c, payload)
	c.loop.span(TraceFrame, c, mark, len(payload), n)
	return err
}
