// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestNetstringErrors(t *testing.T) {
	const colon, either = "a colon", "a digit or a colon"
	for _, test := range []struct {
		wire string // the error must be there with its last byte
		max  int
		want error
	}{
		{":", 100, &codec.MalformedError{Want: "a digit", Byte: ':'}},
		{"x", 100, &codec.MalformedError{Want: "a digit", Byte: 'x'}},
		{"/", 100, &codec.MalformedError{Want: "a digit", Byte: '/'}},
		{"-", 100, &codec.MalformedError{Want: "a digit", Byte: '-'}},
		{"00", 100, &codec.MalformedError{Want: colon, Offset: 1, Byte: '0'}},
		{"01", 100, &codec.MalformedError{Want: colon, Offset: 1, Byte: '1'}},
		{"0x", 100, &codec.MalformedError{Want: colon, Offset: 1, Byte: 'x'}},
		{"1x", 100, &codec.MalformedError{Want: either, Offset: 1, Byte: 'x'}},
		{"10 ", 100, &codec.MalformedError{Want: either, Offset: 2, Byte: ' '}},
		{"0:x", 100, &codec.MalformedError{Want: "a comma", Offset: 2, Byte: 'x'}},
		{"2:abc", 100, &codec.MalformedError{Want: "a comma", Offset: 4, Byte: 'c'}},
		{"101", 100, &codec.TooLongError{Length: 101, Max: 100, AtLeast: true}},
		{"11", 10, &codec.TooLongError{Length: 11, Max: 10, AtLeast: true}},
		{"6", 5, &codec.TooLongError{Length: 6, Max: 5, AtLeast: true}},
		{"10", 5, &codec.TooLongError{Length: 6, Max: 5, AtLeast: true}},
		{strconv.FormatUint(math.MaxInt+1, 10), math.MaxInt,
			&codec.TooLongError{Length: math.MaxInt + 1, Max: math.MaxInt, AtLeast: true}},
		{strconv.Itoa(math.MaxInt) + "0", math.MaxInt,
			&codec.TooLongError{Length: math.MaxInt + 1, Max: math.MaxInt, AtLeast: true}},
	} {
		requireErrorAtLastByte(t, codec.Netstring(test.max), test.wire, test.want)
	}
	_, n, need, err := codec.Netstring(math.MaxInt).Decode([]byte(strconv.Itoa(math.MaxInt)+":"), 0)
	require.Equal(t, []any{0, math.MaxInt, nil}, []any{n, need, err})
}

func TestNetstringDoesNotEncode(t *testing.T) {
	dst := []byte("before")
	got, err := codec.Netstring(10).AppendFrame(dst, make([]byte, 11))
	require.Equal(t, &codec.TooLongError{Length: 11, Max: 10}, err)
	require.Equal(t, dst, got)
}

func TestNetstringRefuses(t *testing.T) {
	require.PanicsWithValue(t, "codec: max of -1 bytes, it must be at least 0", func() { codec.Netstring(-1) })
	require.Equal(t, codec.DefaultMax+len("1048576:,"), codec.Netstring(0).Max())
	require.Equal(t, math.MaxInt, codec.Netstring(math.MaxInt).Max())
}

// TestNetstringAgainstModel decodes streams of good frames that end in something like one.
func TestNetstringAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 120).Draw(t, "max")
		c := codec.Netstring(limit)
		var wire []byte
		var frames [][]byte
		for _, payload := range rapid.SliceOf(bytesOf(0, limit)).Draw(t, "frames") {
			var err error
			wire, err = c.AppendFrame(wire, payload)
			require.NoError(t, err)
			frames = append(frames, payload)
		}
		require.Equal(t, outcome{frames: frames}, requireSplitInvariant(t, c, wire, cut(t, wire), true))

		wire = append(wire, rapid.StringMatching(`([0-3]?[0-9]?:?[a0]{0,3},?){0,3}`).Draw(t, "rest")...)
		require.Equal(t, modelNetstring(limit, wire), requireSplitInvariant(t, c, wire, cut(t, wire), true))
	})
}

var (
	netstringHeader = regexp.MustCompile(`^(0|[1-9][0-9]*):`)
	netstringBegun  = regexp.MustCompile(`^(0|[1-9][0-9]*)?$`)
)

// modelNetstring is what Netstring has to make of wire, in the plainest way: it looks at ever more bytes until it can
// tell.
func modelNetstring(limit int, wire []byte) (want outcome) {
next:
	for len(wire) > 0 {
		need := 0
		for have := 1; have <= len(wire); have++ {
			begun := wire[:have]
			last := begun[have-1]
			if header := netstringHeader.FindSubmatch(begun); header != nil {
				length, _ := strconv.Atoi(string(header[1]))
				need = len(header[0]) + length + 1
				if have < need {
					continue
				}
				if last != ',' {
					want.err = &codec.MalformedError{Want: "a comma", Offset: have - 1, Byte: last}
					return want
				}
				want.frames = append(want.frames, wire[len(header[0]):need-1])
				wire = wire[need:]
				continue next
			}
			need = have + 1
			if !netstringBegun.Match(begun) {
				wanted := "a digit or a colon"
				switch {
				case have == 1:
					wanted = "a digit"
				case begun[0] == '0':
					wanted = "a colon"
				}
				want.err = &codec.MalformedError{Want: wanted, Offset: have - 1, Byte: last}
				return want
			}
			if length, _ := strconv.Atoi(string(begun)); length > limit {
				want.err = &codec.TooLongError{Length: uint64(limit) + 1, Max: limit, AtLeast: true}
				return want
			}
		}
		want.err = &codec.TruncatedError{Have: len(wire), Need: need}
		return want
	}
	return want
}
