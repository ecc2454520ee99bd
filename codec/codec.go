// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"fmt"
	"math"
)

// DefaultMax is the limit on a frame where none is given: 1 MiB.
const DefaultMax = 1 << 20

// A Decoder finds frames in a stream of bytes.
//
// Decoders hold no state: a result depends on the arguments alone, so that one value serves any number of streams
// and goroutines at once. The caller keeps the bytes, and for the frame it waits for two numbers: how many bytes the
// last call saw, and how many the next one needs.
type Decoder interface {
	// Decode looks for a frame at the start of src. The first seen bytes of src were already examined by a call that
	// found none; 0 is always right. It returns one of three things:
	//
	//   - n > 0: a frame, the first n bytes of src. payload is what it carries, empty but never nil for a frame
	//     without content. It is a part of src and lives as long as those bytes are left alone; appending to it
	//     leaves src untouched.
	//   - n == 0 and err == nil: no frame yet. need, greater than len(src), is the length src must reach before
	//     another call can find more.
	//   - err != nil: a [*TooLongError] or a [*MalformedError], reported as early as the bytes allow. It is final:
	//     where the next frame would start is unknown.
	//
	// Frames and errors are the same however the stream was cut into reads ([Raw] excepted). Where a stream ends with
	// bytes that are no frame, the caller reports a [*TruncatedError].
	Decode(src []byte, seen int) (payload []byte, n, need int, err error)
}

// An Encoder makes frames. Like decoders, encoders hold no state and are safe for concurrent use.
type Encoder interface {
	// AppendFrame appends payload, framed, to dst and returns the extended slice. The payload must not overlap the
	// spare capacity of dst. On error dst is returned as it was: a [*TooLongError] for a frame that the decoder would
	// refuse, a [*PayloadError] for a payload that the format cannot carry, or [ErrDecodeOnly].
	AppendFrame(dst, payload []byte) ([]byte, error)
}

// A Codec decodes and encodes one format of frames.
type Codec interface {
	Decoder
	Encoder
	// Max is the most bytes that may have to be in src before Decode can tell what its first frame is: the least
	// room for unconsumed input that a caller has to offer.
	Max() int
}

// must is for the constructors whose arguments a program fixes when it is written.
func must(c Codec, err error) Codec {
	if err != nil {
		panic(err.Error())
	}
	return c
}

// orDefault is for the constructors, for which a maximum of 0 stands for the default one.
func orDefault(max int) int {
	if max == 0 {
		return DefaultMax
	}
	return max
}

func negativeMax(max int) error {
	return fmt.Errorf("codec: max of %d bytes, it must be at least 0", max)
}

// saturate returns a+b for numbers that are not negative, or the largest number where that overflows.
func saturate(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// between returns, as Decode does, the frame that is a header, a payload of length bytes, and a trailer.
func between(src []byte, header, length, trailer int) (payload []byte, n, need int, err error) {
	end := saturate(length, header)
	n = saturate(end, trailer)
	if len(src) < n {
		return nil, 0, n, nil
	}
	return src[header:end:end], n, 0, nil
}
