// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"errors"
	"fmt"
	"io"
)

// ErrDecodeOnly is what AppendFrame returns where the payload does not determine the frame: see
// [LengthFieldOptions.Strip].
var ErrDecodeOnly = errors.New("codec: this codec decodes only, its strip drops what a frame cannot be made without")

// A TooLongError reports a frame that is longer than its codec allows, received or about to be encoded.
type TooLongError struct {
	Length uint64 // bytes of the frame on the wire, header included; [math.MaxUint64] stands for any more
	Max    int    // the limit it exceeds, in bytes
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("codec: frame of %d bytes exceeds the limit of %d", e.Length, e.Max)
}

// A MalformedError reports a header that describes no possible frame: one that would end before its own header does, or
// before what is stripped from it.
type MalformedError struct {
	Length int64 // bytes of the frame according to its header; may be negative
	Min    int   // bytes of the shortest possible frame
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("codec: malformed frame of %d bytes, the shortest possible has %d", e.Length, e.Min)
}

// A TruncatedError reports a stream that ended inside a frame. It is made by whoever reads the stream, as decoders do
// not know of ends, and it unwraps to [io.ErrUnexpectedEOF].
type TruncatedError struct {
	Have int // bytes of the unfinished frame
	Need int // bytes that the decoder asked for last; 0 if unknown
}

func (e *TruncatedError) Error() string {
	if e.Need == 0 {
		return fmt.Sprintf("codec: stream ended inside a frame, after %d bytes", e.Have)
	}
	return fmt.Sprintf("codec: stream ended inside a frame, after %d bytes of at least %d", e.Have, e.Need)
}

// Unwrap returns [io.ErrUnexpectedEOF].
func (e *TruncatedError) Unwrap() error { return io.ErrUnexpectedEOF }

// A PayloadError reports a payload of a length that AppendFrame cannot express.
type PayloadError struct {
	Length   int // bytes of the payload
	Min, Max int // bytes of the shortest and of the longest payload that can be encoded
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("codec: payload of %d bytes is outside %d..%d", e.Length, e.Min, e.Max)
}
