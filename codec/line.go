// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "bytes"

// Line returns the codec of lines of text. A line ends at a line feed, which is not part of the payload; nor is one
// carriage return directly before it. Line(64):
//
//	+-------------+-------------+----+
//	| 68 69 0d 0a | 61 0d 62 0a | 0a |    frames "hi", "a\rb" and ""
//	+-------------+-------------+----+
//
// Lines are bytes, whatever they are; a carriage return anywhere else is one of them. A line is written with a line feed
// alone. A payload that holds one, or ends in a carriage return, is a [*PayloadError].
//
// max is the limit on the payload, in bytes; 0 means [DefaultMax]. Its method Max returns 2 more. Line panics if max is
// negative. It is a [Delimiter] with "\n" and "\r\n", and a little faster.
func Line(max int) Codec { return must(newLine(orDefault(max))) }

// line is a delimiter that takes a shorter way to a line that is there.
type line struct{ *delimiter }

func newLine(max int) (Codec, error) {
	d, err := newDelimiter(DelimiterOptions{Delimiters: []string{"\n", "\r\n"}, Max: max})
	if err != nil {
		return nil, err
	}
	return line{d.(*delimiter)}, nil
}

func (l line) Decode(src []byte, seen int) (payload []byte, n, need int, err error) {
	i := bytes.IndexByte(src[seen:min(len(src), l.limit)], '\n')
	if i < 0 {
		return l.unfinished(src)
	}
	end := seen + i
	n = end + 1
	if end > 0 && src[end-1] == '\r' {
		end--
	}
	if end > l.max {
		return nil, 0, 0, beyond(l.max)
	}
	return src[:end:end], n, 0, nil
}
