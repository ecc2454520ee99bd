// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "fmt"

// Fixed returns the codec of frames that are all n bytes long, payload and nothing else. Fixed(3):
//
//	+----------+----------+
//	| 61 62 63 | 64 65 66 |    frames "abc" and "def"
//	+----------+----------+
//
// It encodes payloads of exactly n bytes. Its method Max returns n. Fixed panics if n is less than 1.
//
// Both Fixed and the Decode of its result are small enough for the compiler to inline: where a function makes the
// codec that it decodes with, a frame costs a comparison and no call.
func Fixed(n int) Codec {
	if n < 1 {
		panicFixed(n)
	}
	return fixed(n)
}

// panicFixed is out of line to leave Fixed small.
func panicFixed(n int) { must(newFixed(n)) }

// fixed is the length of every frame, in bytes.
type fixed int

func newFixed(n int) (Codec, error) {
	if n < 1 {
		return nil, fmt.Errorf("codec: fixed frames of %d bytes, they must have at least 1", n)
	}
	return fixed(n), nil
}

func (f fixed) Decode(src []byte, _ int) (payload []byte, n, need int, err error) {
	n = int(f)
	if len(src) < n {
		return nil, 0, n, nil
	}
	return src[:n:n], n, 0, nil
}

func (f fixed) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) != int(f) {
		return dst, &PayloadError{Length: len(payload), Min: int(f), Max: int(f)}
	}
	return append(dst, payload...), nil
}

func (f fixed) Max() int { return int(f) }
