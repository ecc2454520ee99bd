// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"slices"
	"strconv"
)

// Netstring returns the codec of netstrings (https://cr.yp.to/proto/netstrings.txt): the length of the payload in
// decimal digits, a colon, the payload, and a comma. Netstring(64):
//
//	+-------------------------+----------+
//	| 35 3a 68 65 6c 6c 6f 2c | 30 3a 2c |    frames "hello" and ""
//	+-------------------------+----------+
//
// Anything else is a [*MalformedError], a length with leading zeros included.
//
// max is the limit on the payload, in bytes; 0 means [DefaultMax]. Its method Max returns as much and what goes around a
// payload of that length. Netstring panics if max is negative.
func Netstring(max int) Codec { return must(newNetstring(orDefault(max))) }

// netstring is the limit on the payload, in bytes.
type netstring int

func newNetstring(max int) (Codec, error) {
	if max < 0 {
		return nil, negativeMax(max)
	}
	return netstring(max), nil
}

func (m netstring) Decode(src []byte, _ int) (payload []byte, n, need int, err error) {
	length := 0
	for i, b := range src {
		switch digit := int(b - '0'); {
		case b == ':' && i > 0:
			payload, n, need, err = between(src, i+1, length, 1)
			if n > 0 && src[n-1] != ',' {
				return nil, 0, 0, &MalformedError{Offset: n - 1, Byte: src[n-1], Want: "a comma"}
			}
			return payload, n, need, err
		case i > 0 && src[0] == '0':
			return nil, 0, 0, &MalformedError{Offset: i, Byte: b, Want: "a colon"}
		case b < '0' || b > '9':
			want := "a digit"
			if i > 0 {
				want = "a digit or a colon"
			}
			return nil, 0, 0, &MalformedError{Offset: i, Byte: b, Want: want}
		case digit > int(m) || length > (int(m)-digit)/10: // 10*length+digit > m, without overflow
			return nil, 0, 0, beyond(int(m))
		default:
			length = 10*length + digit
		}
	}
	return nil, 0, len(src) + 1, nil
}

func (m netstring) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) > int(m) {
		return dst, &TooLongError{Length: uint64(len(payload)), Max: int(m)}
	}
	var b [len("9223372036854775807:")]byte
	header := append(strconv.AppendInt(b[:0], int64(len(payload)), 10), ':')
	dst = slices.Grow(dst, len(header)+len(payload)+len(","))
	return append(append(append(dst, header...), payload...), ','), nil
}

func (m netstring) Max() int { return saturate(int(m), len(strconv.Itoa(int(m)))+len(":,")) }
