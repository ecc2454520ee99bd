// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestLine(t *testing.T) {
	c := codec.Line(5)
	require.Equal(t, 7, c.Max())
	require.Equal(t, codec.DefaultMax+2, codec.Line(0).Max())
	require.Equal(t, math.MaxInt, codec.Line(math.MaxInt).Max())
	require.PanicsWithValue(t, "codec: max of -1 bytes, it must be at least 0", func() { codec.Line(-1) })

	tooLong := &codec.TooLongError{Length: 6, Max: 5, AtLeast: true}
	requireErrorAtLastByte(t, c, "abcdef", tooLong)
	requireErrorAtLastByte(t, c, "abcde\rf", tooLong)
	requireErrorAtLastByte(t, c, "abcde\r\r", tooLong)
	requireErrorAtLastByte(t, c, "\r\r\r\r\r\r\r", tooLong)
	for wire, want := range map[string]string{
		"abcde\n": "abcde", "abcde\r\n": "abcde", "\n": "", "\r\n": "", "\r\r\n": "\r", "a\rb\n": "a\rb", "\r\r\r\r\r\r\n": "\r\r\r\r\r",
		"\x00\xff\n": "\x00\xff",
	} {
		require.Equal(t, outcome{frames: [][]byte{[]byte(want)}}, receive(t, c, single([]byte(wire)), true), "%q", wire)
	}
}

func TestLineEncodes(t *testing.T) {
	for payload, want := range map[string]error{
		"": nil, "abcde": nil, "\ra": nil, "a\rb": nil,
		"abcdef": &codec.TooLongError{Length: 6, Max: 5},
		"\n":     &codec.PayloadError{Length: 1, Delimiter: "\n"},
		"ab\ncd": &codec.PayloadError{Length: 5, Delimiter: "\n", End: 2},
		"a\r\nb": &codec.PayloadError{Length: 4, Delimiter: "\r\n", End: 1},
		"ab\r":   &codec.PayloadError{Length: 3, Delimiter: "\r\n", End: 2},
		"\r":     &codec.PayloadError{Length: 1, Delimiter: "\r\n"},
	} {
		requireEncodes(t, codec.Line(5), payload, payload+"\n", want)
	}
}

func TestLineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 10).Draw(t, "max")
		wire := rapid.SliceOfN(rapid.SampledFrom([]byte("a\r\n")), 0, 60).Draw(t, "wire")
		require.Equal(t, modelDelimiter(lines(limit), wire), requireSplitInvariant(t, codec.Line(limit), wire, cut(t, wire), true))
	})
}

// lines are the options of the Delimiter that a Line is.
func lines(limit int) codec.DelimiterOptions {
	return codec.DelimiterOptions{Delimiters: []string{"\n", "\r\n"}, Max: limit}
}
