// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "bufio"

// SplitFunc returns a split function with which a [bufio.Scanner] delivers the payloads of frames as its tokens. It
// serves one Scanner, as it remembers what that was shown.
//
// The Scanner's buffer must take a whole frame, header included, and takes 64 KiB unless told otherwise. So give it room:
//
//	scanner := bufio.NewScanner(r)
//	scanner.Buffer(nil, frames.Max())
//	scanner.Split(codec.SplitFunc(frames))
//
// With less, the Scanner's own [bufio.ErrTooLong] may come before the decoder's error. Err returns the decoder's errors,
// and a [*TruncatedError] for a stream that ends inside a frame. Frames without content are tokens, any number of them.
//
// A [Reader] does the same, with errors where the frames are, no second limit and a decoder that can be changed. This
// function is for code that takes a Scanner.
func SplitFunc(dec Decoder) bufio.SplitFunc {
	var seen, need int
	return func(data []byte, atEOF bool) (advance int, token []byte, err error) {
		if len(data) > 0 && len(data) >= need {
			token, advance, need, err = dec.Decode(data, seen)
			if advance > 0 || err != nil {
				seen, need = 0, 0
				return advance, token, err
			}
			seen = len(data)
		}
		if atEOF && len(data) > 0 {
			return 0, nil, &TruncatedError{Have: len(data), Need: need}
		}
		return 0, nil, nil
	}
}
