// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestLengthFieldEncodes(t *testing.T) {
	for _, test := range []struct {
		name          string
		o             codec.LengthFieldOptions
		payload, want string // hexadecimal
	}{
		{"prefix", codec.LengthFieldOptions{Strip: 4}, "41", "0000000141"},
		{"empty", codec.LengthFieldOptions{Strip: 4}, "", "00000000"},
		{"counts itself", codec.LengthFieldOptions{Strip: 4, Adjust: -4}, "41", "0000000541"},
		{"little-endian", codec.LengthFieldOptions{Strip: 4, LittleEndian: true}, "41", "0100000041"},
		{"one byte", codec.LengthFieldOptions{Size: 1, Strip: 1}, "4142", "024142"},
		{"three bytes", codec.LengthFieldOptions{Size: 3, Strip: 3}, "4142", "0000024142"},
		{"eight bytes", codec.LengthFieldOptions{Size: 8, Strip: 8, LittleEndian: true}, "4142", "02000000000000004142"},
		{"zeros before the length", codec.LengthFieldOptions{Offset: 2, Size: 2, Strip: 4}, "4142", "000000024142"},
		{"bytes not counted", codec.LengthFieldOptions{Size: 2, Strip: 2, Adjust: 1}, "414243", "0002414243"},
		{"whole frame", codec.LengthFieldOptions{Offset: 1, Size: 2}, "caffff4142", "ca00024142"},
		{"whole frame, counts itself", codec.LengthFieldOptions{Size: 2, Adjust: -2}, "ffff4142", "00044142"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := append(bytes.Repeat([]byte{0xff}, 64)[:0], "before"...) // its spare capacity is not zero
			got, err := codec.LengthField(test.o).AppendFrame(dst, unhex(t, test.payload))
			require.NoError(t, err)
			require.Equal(t, "before"+string(unhex(t, test.want)), string(got))
		})
	}
}

func TestLengthFieldDoesNotEncode(t *testing.T) {
	for _, test := range []struct {
		name    string
		o       codec.LengthFieldOptions
		payload int // bytes
		want    error
	}{
		{"beyond the field", codec.LengthFieldOptions{Size: 1, Strip: 1}, 256, &codec.PayloadError{Length: 256, Max: 255}},
		{"beyond the field that counts itself", codec.LengthFieldOptions{Size: 1, Strip: 1, Adjust: -1}, 255,
			&codec.PayloadError{Length: 255, Max: 254}},
		{"beyond max", codec.LengthFieldOptions{Strip: 4, Max: 64}, 61, &codec.TooLongError{Length: 65, Max: 64}},
		{"beyond both", codec.LengthFieldOptions{Size: 1, Strip: 1, Max: 64}, 300, &codec.TooLongError{Length: 301, Max: 64}},
		{"below what is not counted", codec.LengthFieldOptions{Size: 1, Strip: 1, Adjust: 3}, 2,
			&codec.PayloadError{Length: 2, Min: 3, Max: 258}},
		{"without its header", codec.LengthFieldOptions{Offset: 1, Size: 2}, 2,
			&codec.PayloadError{Length: 2, Min: 3, Max: 65538}},
		{"stripped less than the header", codec.LengthFieldOptions{Strip: 1}, 5, codec.ErrDecodeOnly},
		{"stripped more than the header", codec.LengthFieldOptions{Strip: 5}, 5, codec.ErrDecodeOnly},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := append(make([]byte, 0, 1024), "before"...)
			got, err := codec.LengthField(test.o).AppendFrame(dst, bytes.Repeat([]byte{'x'}, test.payload))
			require.Equal(t, test.want, err)
			require.Equal(t, dst, got)
			require.Equal(t, make([]byte, 1018), dst[6:cap(dst)], "bytes behind dst changed")
		})
	}
}

func TestLengthFieldErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		o      codec.LengthFieldOptions
		header string // hexadecimal; the error must be there with its last byte
		want   error
	}{
		{"one above max", codec.LengthFieldOptions{Max: 8}, "00000005", &codec.TooLongError{Length: 9, Max: 8}},
		{"default max", codec.LengthFieldOptions{}, "00100000", &codec.TooLongError{Length: 1<<20 + 4, Max: 1 << 20}},
		{"all ones", codec.LengthFieldOptions{Size: 8}, "ffffffffffffffff",
			&codec.TooLongError{Length: math.MaxUint64, Max: 1 << 20}},
		{"all ones, adjusted", codec.LengthFieldOptions{Size: 8, Adjust: -10}, "ffffffffffffffff",
			&codec.TooLongError{Length: math.MaxUint64 - 2, Max: 1 << 20}},
		{"all ones, largest max", codec.LengthFieldOptions{Size: 8, Max: math.MaxInt}, "ffffffffffffffff",
			&codec.TooLongError{Length: math.MaxUint64, Max: math.MaxInt}},
		{"shorter than its header", codec.LengthFieldOptions{Adjust: -4}, "00000003", &codec.MalformedError{Length: 3, Min: 4}},
		{"negative", codec.LengthFieldOptions{Adjust: -400}, "00000000", &codec.MalformedError{Length: -396, Min: 4}},
		{"most negative", codec.LengthFieldOptions{Size: 8, Adjust: math.MinInt}, "0000000000000000",
			&codec.MalformedError{Length: math.MinInt + 8, Min: 8}},
		{"shorter than strip", codec.LengthFieldOptions{Size: 2, Strip: 5}, "0002", &codec.MalformedError{Length: 4, Min: 5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := unhex(t, test.header)
			c := codec.LengthField(test.o)
			_, n, need, err := c.Decode(header[:len(header)-1], 0)
			require.Equal(t, []any{0, len(header), nil}, []any{n, need, err})
			_, _, _, err = c.Decode(header, len(header)-1)
			require.Equal(t, test.want, err)
		})
	}
}

func TestLengthFieldRefuses(t *testing.T) {
	for _, test := range []struct {
		o    codec.LengthFieldOptions
		want string
	}{
		{codec.LengthFieldOptions{Size: -1}, "codec: length field of -1 bytes, it must have 1 to 8"},
		{codec.LengthFieldOptions{Size: 9}, "codec: length field of 9 bytes, it must have 1 to 8"},
		{codec.LengthFieldOptions{Offset: -1}, "codec: length field at offset -1, it must be at least 0"},
		{codec.LengthFieldOptions{Strip: -1}, "codec: strip of -1 bytes, it must be at least 0"},
		{codec.LengthFieldOptions{Max: -1}, "codec: max of -1 bytes, it must be at least the 4 of the header"},
		{codec.LengthFieldOptions{Max: 3}, "codec: max of 3 bytes, it must be at least the 4 of the header"},
		{codec.LengthFieldOptions{Offset: 7, Max: 10}, "codec: max of 10 bytes, it must be at least the 11 of the header"},
		{codec.LengthFieldOptions{Strip: 11, Max: 10}, "codec: max of 10 bytes, it must be at least the 11 of strip"},
		{codec.LengthFieldOptions{Adjust: 7, Max: 10}, "codec: adjust of 7 makes every frame longer than the max of 10 bytes"},
		{codec.LengthFieldOptions{Size: 1, Adjust: -256},
			"codec: adjust of -256 makes every frame shorter than the 1 bytes it must have"},
	} {
		require.EqualError(t, test.o.Validate(), test.want)
		require.PanicsWithValue(t, test.want, func() { codec.LengthField(test.o) })
	}
	for _, extreme := range []int{math.MaxInt, math.MinInt} {
		require.Error(t, codec.LengthFieldOptions{Size: extreme}.Validate())
		require.Error(t, codec.LengthFieldOptions{Offset: extreme}.Validate())
		require.Error(t, codec.LengthFieldOptions{Strip: extreme}.Validate())
		require.Error(t, codec.LengthFieldOptions{Size: 1, Adjust: extreme}.Validate())
	}
	require.NoError(t, codec.LengthFieldOptions{}.Validate())
	require.NoError(t, codec.LengthFieldOptions{Max: 4}.Validate())
	require.NoError(t, codec.LengthFieldOptions{Adjust: -4}.Validate())
	require.NoError(t, codec.LengthFieldOptions{Size: 1, Adjust: -255}.Validate())
}

func TestLengthPrefix(t *testing.T) {
	require.Equal(t, codec.LengthField(codec.LengthFieldOptions{Size: 2, Strip: 2, Max: 64}), codec.LengthPrefix(2, 64))
	require.Equal(t, codec.DefaultMax, codec.LengthPrefix(4, 0).Max())
	require.PanicsWithValue(t, "codec: length field of 0 bytes, it must have 1 to 8", func() { codec.LengthPrefix(0, 64) })
	require.PanicsWithValue(t, "codec: max of 3 bytes, it must be at least the 4 of the header", func() { codec.LengthPrefix(4, 3) })
}

// TestLengthFieldAgainstModel decodes streams of good frames that end in anything.
func TestLengthFieldAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawLengthField(t)
		var wire []byte
		for range rapid.IntRange(0, 5).Draw(t, "frames") {
			alike := rapid.IntRange(1, 4).Draw(t, "alike") // which a batch decodes in another way
			wire = append(wire, bytes.Repeat(drawFrame(t, o), alike)...)
		}
		wire = append(wire, bytesOf(0, 30).Draw(t, "rest")...)

		c := codec.LengthField(o)
		require.Equal(t, o.Max, c.Max())
		require.Equal(t, modelLengthField(o, wire), requireSplitInvariant(t, c, wire, cut(t, wire), true))
	})
}

// TestLengthFieldInverse encodes any payload. Either what comes out decodes to it, or no frame could carry it.
func TestLengthFieldInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawLengthField(t)
		header := o.Offset + o.Size
		o.Strip = rapid.SampledFrom([]int{0, header}).Draw(t, "strip")
		if o.Validate() != nil {
			t.Skip()
		}
		c := codec.LengthField(o)
		payload, dst := bytesOf(0, 300).Draw(t, "payload"), bytesOf(0, 3).Draw(t, "dst")
		frame := slices.Concat(make([]byte, o.Strip), payload)

		got, err := c.AppendFrame(dst, payload)
		field := new(big.Int).Sub(big.NewInt(int64(len(frame))), big.NewInt(int64(header+o.Adjust)))
		if len(frame) > o.Max {
			require.Equal(t, &codec.TooLongError{Length: uint64(len(frame)), Max: o.Max}, err)
			require.Equal(t, dst, got)
			return
		}
		if len(frame) < header || field.Sign() < 0 || field.BitLen() > 8*o.Size {
			var refused *codec.PayloadError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, len(payload), refused.Length)
			require.True(t, len(payload) < refused.Min || len(payload) > refused.Max)
			require.Equal(t, dst, got)
			return
		}
		require.NoError(t, err)
		putLength(o, frame, field)
		require.Equal(t, slices.Concat(dst, frame), got)

		decoded, n, _, err := c.Decode(got[len(dst):], 0)
		require.NoError(t, err)
		require.Equal(t, len(frame), n)
		require.Equal(t, frame[o.Strip:], decoded)
	})
}

// drawLengthField draws options that are valid.
func drawLengthField(t *rapid.T) codec.LengthFieldOptions {
	return rapid.Custom(func(t *rapid.T) codec.LengthFieldOptions {
		o := codec.LengthFieldOptions{
			Size:         rapid.IntRange(1, 8).Draw(t, "size"),
			Offset:       rapid.IntRange(0, 6).Draw(t, "offset"),
			Adjust:       rapid.IntRange(-20, 20).Draw(t, "adjust"),
			LittleEndian: rapid.Bool().Draw(t, "little"),
		}
		header := o.Offset + o.Size
		o.Strip = rapid.OneOf(rapid.SampledFrom([]int{0, header}), rapid.IntRange(0, header+6)).Draw(t, "strip")
		o.Max = rapid.IntRange(header, 300).Draw(t, "max")
		return o
	}).Filter(func(o codec.LengthFieldOptions) bool { return o.Validate() == nil }).Draw(t, "options")
}

// drawFrame draws a frame that o allows.
func drawFrame(t *rapid.T, o codec.LengthFieldOptions) []byte {
	header := o.Offset + o.Size
	shortest, longest := max(header, o.Strip, header+o.Adjust), o.Max
	if o.Size == 1 {
		longest = min(longest, header+o.Adjust+255)
	}
	frame := bytesOf(shortest, longest).Draw(t, "frame")
	putLength(o, frame, big.NewInt(int64(len(frame)-header-o.Adjust)))
	return frame
}

func putLength(o codec.LengthFieldOptions, frame []byte, length *big.Int) {
	field := frame[o.Offset : o.Offset+o.Size]
	length.FillBytes(field)
	if o.LittleEndian {
		slices.Reverse(field)
	}
}

// modelLengthField is what a LengthField has to make of wire, in the plainest way: no limits to any number, and
// no care for speed.
func modelLengthField(o codec.LengthFieldOptions, wire []byte) (want outcome) {
	header := o.Offset + o.Size
	for len(wire) > 0 {
		need := header
		if len(wire) >= header {
			field := slices.Clone(wire[o.Offset:header])
			if o.LittleEndian {
				slices.Reverse(field)
			}
			n := new(big.Int).SetBytes(field)
			n.Add(n, big.NewInt(int64(header+o.Adjust)))
			least := max(header, o.Strip)
			switch {
			case n.Cmp(big.NewInt(int64(least))) < 0:
				want.err = &codec.MalformedError{Length: n.Int64(), Min: least}
				return want
			case !n.IsUint64():
				want.err = &codec.TooLongError{Length: math.MaxUint64, Max: o.Max}
				return want
			case n.Cmp(big.NewInt(int64(o.Max))) > 0:
				want.err = &codec.TooLongError{Length: n.Uint64(), Max: o.Max}
				return want
			}
			need = int(n.Int64())
		}
		if len(wire) < need {
			want.err = &codec.TruncatedError{Have: len(wire), Need: need}
			return want
		}
		want.frames = append(want.frames, wire[o.Strip:need])
		wire = wire[need:]
	}
	return want
}

func unhex(t testing.TB, s string) []byte {
	data, err := hex.DecodeString(s)
	require.NoError(t, err)
	return data
}
