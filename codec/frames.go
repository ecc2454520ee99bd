// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "iter"

// Frames returns an iterator over the payloads of the frames in data, which are parts of it. An error ends the loop: the
// decoder's, or a [*TruncatedError] if data ends inside a frame.
//
// It is for what is all there, such as a datagram or a recorded stream. A stream that still arrives takes a [Reader].
func Frames(data []byte, dec Decoder) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for rest := data; len(rest) > 0; {
			payload, n, need, err := dec.Decode(rest, 0)
			if n == 0 && err == nil {
				err = &TruncatedError{Have: len(rest), Need: need}
			}
			if !yield(payload, err) || err != nil {
				return
			}
			rest = rest[n:]
		}
	}
}
