// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "io"

// writerBatch is how many bytes a Writer collects before it writes them.
const writerBatch = 64 << 10

// A Writer frames payloads and writes them to an [io.Writer] in batches.
//
// It writes when 64 KiB have come together, before a payload that would not fit into those, and on Flush. So one Write
// gets whole frames: 64 KiB and a header at most, or a single longer frame. The buffer starts empty, grows to what the
// largest batch or frame needed and stays that large.
//
// A Writer belongs to one goroutine at a time. Used with a [Reader] on the same connection it should be flushed before
// the Reader blocks: the example shows how.
type Writer struct {
	dst io.Writer
	enc Encoder
	buf []byte
	err error // of a Write; final, as the stream may have ended inside a frame
}

// NewWriter returns a Writer that frames with enc what it writes to dst.
func NewWriter(dst io.Writer, enc Encoder) *Writer { return &Writer{dst: dst, enc: enc} }

// WriteFrame frames payload, of which it keeps no reference. The frame is on its way when Flush has returned nil.
//
// An error of the encoder concerns this payload alone: nothing of it will be written, and other frames can follow. An
// error of a Write, this one's or an earlier one's, is final.
func (w *Writer) WriteFrame(payload []byte) error {
	if len(payload) > writerBatch-len(w.buf) {
		if err := w.Flush(); err != nil { // first, so that the buffer grows for this frame alone
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	buf, err := w.enc.AppendFrame(w.buf, payload)
	if err != nil {
		return err
	}
	w.buf = buf
	if len(buf) >= writerBatch {
		return w.Flush()
	}
	return nil
}

// Flush writes the frames that were not written yet, in one Write. Its error is final, every later call of Flush and
// WriteFrame returns the same one; a Write that takes less than it got without saying why is an [io.ErrShortWrite].
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	n, err := w.dst.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.buf, w.err = w.buf[:0], err
	return err
}
