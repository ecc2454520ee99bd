// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestVarintEncodes(t *testing.T) {
	for length, header := range map[int]string{
		0: "00", 1: "01", 10: "0a", 127: "7f", 128: "8001", 266: "8a02", 16383: "ff7f", 16384: "808001", 2097152: "80808001",
	} {
		payload := strings.Repeat("x", length)
		got, err := codec.Varint(4<<20).AppendFrame([]byte("before"), []byte(payload))
		require.NoError(t, err)
		require.Equal(t, "before"+string(unhex(t, header))+payload, string(got))
	}
}

func TestVarintErrors(t *testing.T) {
	for _, test := range []struct {
		header string // hexadecimal; the error must be there with its last byte
		max    int
		want   error
	}{
		{"65", 100, &codec.TooLongError{Length: 101, Max: 100}},
		{"e500", 100, &codec.TooLongError{Length: 101, Max: 100}},
		{"ffffffff07", 100, &codec.TooLongError{Length: math.MaxInt32, Max: 100}},
		{"ffffffff07", math.MaxInt32 - 1, &codec.TooLongError{Length: math.MaxInt32, Max: math.MaxInt32 - 1}},
		{"8080808008", 100, &codec.MalformedError{Want: "at most 0x07", Offset: 4, Byte: 0x08}},
		{"ffffffff0f", math.MaxInt32, &codec.MalformedError{Want: "at most 0x07", Offset: 4, Byte: 0x0f}},
		{"8080808010", math.MaxInt32, &codec.MalformedError{Want: "at most 0x07", Offset: 4, Byte: 0x10}},
		{"8080808080", math.MaxInt32, &codec.MalformedError{Want: "at most 0x07", Offset: 4, Byte: 0x80}},
	} {
		requireErrorAtLastByte(t, codec.Varint(test.max), string(unhex(t, test.header)), test.want)
	}
}

func TestVarintDoesNotEncode(t *testing.T) {
	dst := []byte("before")
	got, err := codec.Varint(10).AppendFrame(dst, make([]byte, 11))
	require.Equal(t, &codec.TooLongError{Length: 11, Max: 10}, err)
	require.Equal(t, dst, got)
}

func TestVarintRefuses(t *testing.T) {
	require.PanicsWithValue(t, "codec: max of -1 bytes, it must be 0 to 2147483647", func() { codec.Varint(-1) })
	if limit := math.MaxInt; limit > math.MaxInt32 {
		require.Panics(t, func() { codec.Varint(limit) })
	}
	require.Equal(t, codec.DefaultMax+5, codec.Varint(0).Max())
	require.Equal(t, min(math.MaxInt32+5, uint64(math.MaxInt)), uint64(codec.Varint(math.MaxInt32).Max()))
}

// TestVarintAgainstModel decodes streams of good frames, their lengths longer than they need be, that end in anything.
func TestVarintAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 300).Draw(t, "max")
		c := codec.Varint(limit)
		var wire []byte
		var frames [][]byte
		for _, payload := range rapid.SliceOf(bytesOf(0, limit)).Draw(t, "frames") {
			start := len(wire)
			var err error
			wire, err = c.AppendFrame(wire, payload)
			require.NoError(t, err)
			frames = append(frames, payload)

			size := len(wire) - start - len(payload)
			longer := rapid.IntRange(size, 5).Draw(t, "size") - size
			header := append([]byte{}, wire[start:start+size]...)
			for range longer {
				header[len(header)-1] |= 0x80
				header = append(header, 0)
			}
			wire = append(append(wire[:start], header...), payload...)
		}
		require.Equal(t, outcome{frames: frames}, requireSplitInvariant(t, c, wire, cut(t, wire), true))

		wire = append(wire, bytesOf(0, 30).Draw(t, "rest")...)
		require.Equal(t, modelVarint(limit, wire), requireSplitInvariant(t, c, wire, cut(t, wire), true))
	})
}

// modelVarint is what Varint has to make of wire, in the plainest way.
func modelVarint(limit int, wire []byte) (want outcome) {
	for len(wire) > 0 {
		length, size := 0.0, 0 // of the payload, and of its header if that is complete
		for i, b := range wire[:min(len(wire), 5)] {
			length += float64(b%128) * math.Pow(128, float64(i))
			if i == 4 && b > 7 {
				want.err = &codec.MalformedError{Want: "at most 0x07", Offset: 4, Byte: b}
				return want
			}
			if b < 128 {
				size = i + 1
				break
			}
		}
		need := size + int(length)
		switch {
		case size == 0:
			want.err = &codec.TruncatedError{Have: len(wire), Need: len(wire) + 1}
			return want
		case length > float64(limit):
			want.err = &codec.TooLongError{Length: uint64(length), Max: limit}
			return want
		case len(wire) < need:
			want.err = &codec.TruncatedError{Have: len(wire), Need: need}
			return want
		}
		want.frames = append(want.frames, wire[size:need])
		wire = wire[need:]
	}
	return want
}

// requireErrorAtLastByte asserts that wire is the start of a frame until its last byte is there.
func requireErrorAtLastByte(t *testing.T, dec codec.Decoder, wire string, want error) {
	t.Helper()
	for have := range len(wire) {
		_, n, need, err := dec.Decode([]byte(wire[:have]), max(have-1, 0))
		require.NoError(t, err, "%q", wire[:have])
		require.Zero(t, n, "%q", wire[:have])
		require.LessOrEqual(t, need, len(wire), "%q: more is asked for than the error takes", wire[:have])
	}
	_, _, _, err := dec.Decode([]byte(wire), len(wire)-1)
	require.Equal(t, want, err, "%q, %s", wire, hex.EncodeToString([]byte(wire)))
}
