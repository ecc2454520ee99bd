// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"fmt"
	"io"
	"iter"
)

const (
	readerStart = 4 << 10  // bytes of a Reader's first buffer
	readerBusy  = 64 << 10 // bytes to which the buffer grows because much arrives at once, not because a frame is long
	emptyReads  = 100      // reads in a row that may bring neither bytes nor an error, as in bufio
)

// A Reader cuts what an [io.Reader] delivers into frames, for code that may block: a goroutine with its connection, a
// file, a pipe.
//
// It reads only when it has no whole frame left, and then as much as one Read brings: a Read may bring many frames.
// Its buffer starts at 4 KiB and doubles while Reads fill it, up to 64 KiB. For a longer frame it goes on doubling as
// the bytes arrive, up to the decoder's Max where the decoder has that method. What a header announces reserves nothing.
// The buffer stays as large as it became.
//
// A Reader belongs to one goroutine at a time.
type Reader struct {
	src io.Reader
	dec Decoder

	buf        []byte // received; from next on, not yet returned
	next       int
	seen, need int  // of the frame at next: bytes that Decode saw, and bytes to wait for
	full       bool // the last Read filled the buffer, there may be more

	late error // came with bytes, to be told when those are used up
	err  error // final
}

// NewReader returns a Reader that decodes with dec what it reads from src.
func NewReader(src io.Reader, dec Decoder) *Reader { return &Reader{src: src, dec: dec} }

// ReadFrame returns the payload of the next frame, empty but not nil for a frame without content. It is a part of the
// buffer, valid until the next call; appending to it is safe.
//
// Errors of the stream are final, every later call returns the same one: the decoder's, [io.EOF] where the stream
// ends after a whole frame, a [*TruncatedError] where it ends inside one. Any other error of the source, and
// [io.ErrNoProgress] after 100 Reads without bytes, is returned once all frames received before it are. It loses
// nothing: after a deadline, say, the next call reads on.
func (r *Reader) ReadFrame() ([]byte, error) {
	for r.err == nil {
		if in := r.buf[r.next:]; len(in) > 0 && len(in) >= r.need {
			payload, n, need, err := r.dec.Decode(in, r.seen)
			if n > 0 {
				r.next, r.seen, r.need = r.next+n, 0, 0
				return payload, nil
			}
			if r.seen, r.need, r.err = len(in), need, err; err != nil {
				break
			}
		}
		if err := r.fill(); err != nil { // also where need is none: nothing is decoded twice
			return nil, err
		}
	}
	return nil, r.err
}

// Frames returns an iterator over the frames that ReadFrame would return, and with the same errors: one ends the loop,
// only a clean end is not an error. Frames left when the loop is broken off are there for the next loop or ReadFrame.
func (r *Reader) Frames() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			payload, err := r.ReadFrame()
			if err == io.EOF || !yield(payload, err) || err != nil {
				return
			}
		}
	}
}

// SetDecoder changes the decoder for everything behind the last frame returned, received already or not: for
// protocols that change their framing after a greeting.
func (r *Reader) SetDecoder(dec Decoder) { r.dec, r.seen, r.need = dec, 0, 0 }

// Buffered returns the bytes behind the last frame returned that are received already, for whoever goes on without
// frames. They are valid until the next ReadFrame.
func (r *Reader) Buffered() []byte { return r.buf[r.next:len(r.buf):len(r.buf)] }

// fill adds what one Read brings to the buffer, or returns why there will be nothing.
func (r *Reader) fill() error {
	err := r.late
	r.late = nil
	if err == nil {
		r.makeRoom()
		var n int
		if n, err = r.read(); n > 0 {
			r.late = err
			return nil
		}
	}
	if err == io.EOF {
		if rest := len(r.Buffered()); rest > 0 {
			err = &TruncatedError{Have: rest, Need: r.need}
		}
		r.err = err
	}
	return err
}

// read returns the number of bytes added, or 0 and an error.
func (r *Reader) read() (int, error) {
	room := r.buf[len(r.buf):cap(r.buf)]
	for range emptyReads {
		n, err := r.src.Read(room)
		if n < 0 || n > len(room) {
			r.err = fmt.Errorf("codec: Read returned a count of %d for %d bytes", n, len(room))
			return 0, r.err
		}
		if n > 0 || err != nil {
			r.buf, r.full = r.buf[:len(r.buf)+n], n == len(room)
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// makeRoom moves what was not returned to the front of the buffer and enlarges the buffer if there is reason to.
// Each byte is moved once to the front, so moving costs linear time.
func (r *Reader) makeRoom() {
	rest, size := r.buf[r.next:], cap(r.buf)
	switch {
	case len(rest) == size: // nothing yet, or a frame longer than the buffer
		size = max(2*size, readerStart)
		if c, ok := r.dec.(interface{ Max() int }); ok && c.Max() > len(rest) {
			size = min(size, max(c.Max(), readerStart))
		}
	case r.full && size < readerBusy:
		size *= 2
	}
	if size > cap(r.buf) {
		r.buf = append(make([]byte, 0, size), rest...)
	} else if r.next > 0 {
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.next = 0
}
