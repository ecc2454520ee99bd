// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package gnetcodec

import (
	"errors"
	"io"
	"iter"
	"net"

	"github.com/panjf2000/gnet/v2"
	"github.com/valyala/bytebufferpool"

	"github.com/quartet-go/quartet/codec"
)

// A Reader cuts what one stream connection receives into frames.
//
// Frames are decoded in gnet's own buffer. Only an unfinished one is copied, to a pooled buffer that grows as its bytes
// arrive, up to the decoder's limit and what comes behind the frame at once; between two frames a connection has none.
// The connection's context is not touched.
//
// A Reader belongs to the event loop of its connection: it is for the callbacks of that connection only. It takes from
// the connection all that has arrived, so nothing else should.
type Reader struct {
	c   gnet.Conn
	dec codec.Decoder

	kept       *bytebufferpool.ByteBuffer // received earlier and not yet returned; nil if nothing
	seen, need int                        // of the frame waited for: bytes that Decode saw, and bytes to wait for
	err        error                      // final
}

// NewReader returns a Reader that decodes with dec what c receives.
func NewReader(c gnet.Conn, dec codec.Decoder) *Reader { return &Reader{c: c, dec: dec} }

// Frames returns an iterator over the payloads of the frames that are whole, for OnTraffic. They are empty but not nil
// for frames without content. Each is valid in its own turn of the loop only; appending to it is safe.
//
// An error ends the loop and is final: later loops get it again and nothing else. It is the decoder's, or
// [net.ErrClosed] if the connection was closed within the loop, as gnet does when a Write fails.
//
// Frames left when the loop is broken off are there for the next one. As gnet calls OnTraffic for new bytes only, see
// to that with [gnet.Conn]'s Wake.
func (r *Reader) Frames() iter.Seq2[[]byte, error] {
	// The method value r.frames would do as well, but then every loop's body would be on the heap.
	return func(yield func([]byte, error) bool) { r.frames(yield) }
}

// SetDecoder changes the decoder for everything behind the last frame returned, received already or not: for
// protocols that change their framing after a greeting.
func (r *Reader) SetDecoder(dec codec.Decoder) { r.dec, r.seen, r.need = dec, 0, 0 }

// End returns why the stream ended. Call it in OnClose, with the error given there. It is the error of the frames, if
// there was one. Else, if the peer ended the stream, it is [io.EOF], or a [*codec.TruncatedError] where bytes were left;
// otherwise it is what OnClose was given, nil for a connection closed on this side.
func (r *Reader) End(err error) error {
	left := 0
	if r.kept != nil {
		left = r.kept.Len()
	}
	r.keep(nil)
	switch {
	case r.err != nil:
		return r.err
	case !errors.Is(err, io.EOF):
		return err
	case left > 0:
		return &codec.TruncatedError{Have: left, Need: r.need}
	}
	return io.EOF
}

func (r *Reader) frames(yield func([]byte, error) bool) {
	var in []byte
	came := r.c.InboundBuffered()
	if came > 0 { // to Peek and Discard 0 bytes means all
		in, _ = r.c.Peek(came) // fails only where there are fewer
	}
	if r.kept != nil {
		_, _ = r.kept.Write(in)
		in = r.kept.B
	}
	defer func() { // also where a panic leaves the loop
		if r.err != nil {
			in = nil
		}
		r.keep(in)
		if came > 0 && !closed(r.c) {
			_, _ = r.c.Discard(came)
		}
	}()

	for r.err == nil && len(in) > 0 && len(in) >= r.need {
		payload, n, need, err := r.dec.Decode(in, r.seen)
		if n == 0 {
			r.seen, r.need, r.err = len(in), need, err
			break
		}
		in, r.seen, r.need = in[n:], 0, 0
		more := yield(payload, nil)
		if closed(r.c) {
			r.err = net.ErrClosed // and what was peeked at may be another connection's
		}
		if !more {
			return
		}
	}
	if r.err != nil {
		yield(nil, r.err)
	}
}

// keep makes rest, a part of what was decoded, all that is kept.
func (r *Reader) keep(rest []byte) {
	switch {
	case len(rest) == 0:
		if r.kept != nil {
			bytebufferpool.Put(r.kept)
			r.kept = nil
		}
	case r.kept == nil:
		r.kept = bytebufferpool.Get()
		fallthrough
	case len(rest) < r.kept.Len(): // if it is as long, it is what is kept
		r.kept.B = append(r.kept.B[:0], rest...)
	}
}

// closed reports that gnet has closed c. It says so nowhere, but has the local address no longer.
func closed(c gnet.Conn) bool { return c.LocalAddr() == nil }
