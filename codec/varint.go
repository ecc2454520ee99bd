// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Varint returns the codec of protobuf's delimited messages: the length of the payload as a base-128 varint, seven bits
// a byte, the lowest first, and the payload. Varint(64):
//
//	+-------------------+----+
//	| 05 68 65 6c 6c 6f | 00 |    frames "hello" and ""
//	+-------------------+----+
//
// A length has at most 5 bytes and is at most 2^31-1; anything beyond is a [*MalformedError]. Small lengths in more bytes
// than they need are accepted, and written in as few as possible.
//
// max is the limit on the payload, in bytes; 0 means [DefaultMax]. Its method Max returns 5 more. Varint panics if max is
// negative or beyond 2^31-1.
func Varint(max int) Codec { return must(newVarint(orDefault(max))) }

// varint is the limit on the payload, in bytes.
type varint int

const (
	maxVarint     = math.MaxInt32
	maxVarintSize = 5
	maxVarintLast = maxVarint >> (7 * (maxVarintSize - 1)) // the last of 5 bytes
)

func newVarint(max int) (Codec, error) {
	if max < 0 || max > maxVarint {
		return nil, fmt.Errorf("codec: max of %d bytes, it must be 0 to %d", max, maxVarint)
	}
	return varint(max), nil
}

func (v varint) Decode(src []byte, _ int) (payload []byte, n, need int, err error) {
	length := 0
	for i, b := range src {
		if i == maxVarintSize-1 && b > maxVarintLast {
			return nil, 0, 0, &MalformedError{Offset: i, Byte: b, Want: "at most 0x07"}
		}
		length |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			if length > int(v) {
				return nil, 0, 0, &TooLongError{Length: uint64(length), Max: int(v)}
			}
			return between(src, i+1, length, 0)
		}
	}
	return nil, 0, len(src) + 1, nil
}

func (v varint) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) > int(v) {
		return dst, &TooLongError{Length: uint64(len(payload)), Max: int(v)}
	}
	var b [maxVarintSize]byte
	header := binary.AppendUvarint(b[:0], uint64(len(payload)))
	dst = slices.Grow(dst, len(header)+len(payload))
	return append(append(dst, header...), payload...), nil
}

func (v varint) Max() int { return saturate(int(v), maxVarintSize) }
