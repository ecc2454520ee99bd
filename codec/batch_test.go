// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// TestDecodeBatch stops streams behind each of their bytes and decodes batches of each size: a batch is what Decode
// finds one by one.
func TestDecodeBatch(t *testing.T) {
	length := func(offset, size, strip int, little bool) codec.Codec {
		return codec.LengthField(codec.LengthFieldOptions{Offset: offset, Size: size, Strip: strip, LittleEndian: little})
	}
	for _, test := range []struct {
		name string
		enc  codec.Encoder
		dec  codec.Decoder
	}{
		{"fixed", codec.Netstring(0), codec.Fixed(7)},
		{"one byte", codec.LengthPrefix(1, 0), codec.LengthPrefix(1, 0)},
		{"eight bytes", codec.LengthPrefix(8, 0), codec.LengthPrefix(8, 0)},
		{"little-endian", length(1, 2, 3, true), length(1, 2, 3, true)},
		{"whole frames", length(3, 2, 5, false), length(3, 2, 0, false)},
		{"stripped up to the length field", length(12, 1, 13, false), length(12, 1, 2, false)},
		{"stripped of more than the header", codec.LengthPrefix(1, 0), length(0, 1, 11, false)}, // an empty payload is malformed
		{"too long", codec.LengthPrefix(2, 0), codec.LengthPrefix(2, 100)},
		{"not a codec for batches", codec.Varint(0), codec.Varint(0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wire []byte
			for _, n := range []int{10, 10, 10, 10, 10, 138, 10, 10, 9, 9, 9, 0, 0, 0, 11} { // 138 is 10 in seven bits
				payload := make([]byte, n)
				for i := range payload {
					payload[i] = byte(len(wire) + i)
				}
				var err error
				wire, err = test.enc.AppendFrame(wire, payload)
				require.NoError(t, err)
			}
			for end := range len(wire) + 1 {
				src := wire[:end] // more is behind it, not to be looked at
				for most := range 8 {
					got, want := batch{payloads: make([][]byte, most)}, oneByOne(test.dec, src, most)
					got.frames, got.n, got.need, got.err = codec.DecodeBatch(test.dec, got.payloads, src, 0)
					require.Equal(t, want, got, "%d bytes, at most %d frames", end, most)
					for _, payload := range got.payloads[:got.frames] {
						require.Equal(t, len(payload), cap(payload), "appending to the payload would change src")
					}
				}
			}
		})
	}
}

// A batch is what DecodeBatch returns.
type batch struct {
	payloads        [][]byte
	frames, n, need int
	err             error
}

func oneByOne(dec codec.Decoder, src []byte, most int) batch {
	b := batch{payloads: make([][]byte, most)}
	for b.frames < most {
		payload, n, need, err := dec.Decode(src[b.n:], 0)
		if n == 0 {
			b.need, b.err = need, err
			break
		}
		b.payloads[b.frames] = payload
		b.frames++
		b.n += n
	}
	return b
}
