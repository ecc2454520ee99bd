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
	// Length is what Max limits: the bytes of the frame on the wire, header included, or of its payload where the codec
	// limits that. [math.MaxUint64] stands for any more.
	Length uint64
	Max    int // the limit it exceeds, in bytes

	// AtLeast says that Length is what is certain, Max+1: the frame's end was not looked for.
	AtLeast bool
}

func (e *TooLongError) Error() string {
	atLeast := ""
	if e.AtLeast {
		atLeast = "at least "
	}
	return fmt.Sprintf("codec: frame of %s%d bytes exceeds the limit of %d", atLeast, e.Length, e.Max)
}

// beyond is the error for a payload known to exceed max, and no more.
func beyond(max int) error {
	return &TooLongError{Length: uint64(max) + 1, Max: max, AtLeast: true}
}

// A MalformedError reports bytes that start no possible frame: a byte that cannot stand where it does, or a length that
// would end the frame before its own header does, or before what is stripped from it.
type MalformedError struct {
	Length int64 // bytes of the frame according to its header; may be negative
	Min    int   // bytes of the shortest possible frame

	Want   string // what may stand in place of the wrong byte; "" if it is Length that is wrong
	Offset int    // bytes of the frame before the wrong one
	Byte   byte   // the wrong byte
}

func (e *MalformedError) Error() string {
	if e.Want != "" {
		return fmt.Sprintf("codec: malformed frame, byte %#02x at offset %d where %s is due", e.Byte, e.Offset, e.Want)
	}
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

// A PayloadError reports a payload that AppendFrame cannot express: its length does not fit, or a delimiter is where it
// must not be.
type PayloadError struct {
	Length   int // bytes of the payload
	Min, Max int // bytes of the shortest and of the longest payload that can be encoded

	Delimiter string // the delimiter found too early, or else missed at the end; "" if it is Length that does not fit
	End       int    // bytes of the payload before it: Length if it is missed
}

func (e *PayloadError) Error() string {
	switch {
	case e.Delimiter == "":
		return fmt.Sprintf("codec: payload of %d bytes is outside %d..%d", e.Length, e.Min, e.Max)
	case e.End == e.Length:
		return fmt.Sprintf("codec: payload of %d bytes does not end in a delimiter such as %q", e.Length, e.Delimiter)
	}
	return fmt.Sprintf("codec: payload of %d bytes would end after %d, where the delimiter %q begins", e.Length, e.End, e.Delimiter)
}
