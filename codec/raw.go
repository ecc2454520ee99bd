// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

// Raw returns the codec that frames nothing: a frame is whatever is there, usually what one read brought.
//
//	+----------------+    +-------+
//	| 61 62 63 64 65 |    | 66 67 |    two reads, frames "abcde" and "fg"
//	+----------------+    +-------+
//
// By its nature its frames depend on how the stream was cut; it exists for protocols that need no frames, such as
// echo, and for looking at a stream. No input is an error and no end of the stream truncates it. It encodes any
// payload as it is, an empty one as nothing. Its method Max returns 1: one byte is enough to make a frame.
func Raw() Codec { return raw{} }

type raw struct{}

func (raw) Decode(src []byte, _ int) (payload []byte, n, need int, err error) {
	if len(src) == 0 {
		return nil, 0, 1, nil
	}
	return src[:len(src):len(src)], len(src), 0, nil
}

func (raw) AppendFrame(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }

func (raw) Max() int { return 1 }
