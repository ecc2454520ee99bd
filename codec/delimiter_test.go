// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestDelimiterErrors(t *testing.T) {
	for _, test := range []struct {
		delims []string
		wire   string // the error must be there with its last byte
	}{
		{[]string{"\x00"}, "abcde"},
		{[]string{"$$"}, "abcde"},
		{[]string{"$$"}, "abcd$e"},
		{[]string{"$$"}, "abcde"},
		{[]string{"--end--"}, "abcd--end-x"},
		{[]string{"--end--"}, "abcd---"},
		{[]string{"--end--", "\n"}, "abcd--en!"},
		{[]string{"--end--", "\n"}, "abcde"},
		{[]string{"aaaab"}, "aaaaaaaaa"}, // at 8 bytes the last four may still begin the delimiter
		{[]string{",", ";"}, "abcde"},
	} {
		for _, keep := range []bool{false, true} {
			c := codec.Delimiter(codec.DelimiterOptions{Delimiters: test.delims, Max: 4, Keep: keep})
			requireErrorAtLastByte(t, c, test.wire, &codec.TooLongError{Length: 5, Max: 4, AtLeast: true})
		}
	}
}

// TestDelimiterPastMax gives what may still become a delimiter the time to become one.
func TestDelimiterPastMax(t *testing.T) {
	for wire, delims := range map[string][]string{
		"abcd$$":               {"$$"},
		"abcd--end--":          {"--end--", "\n"},
		"aaaaaaaab":            {"aaaab"},
		"abcd0123456789abcdef": {"0123456789abcdef"},
	} {
		c := codec.Delimiter(codec.DelimiterOptions{Delimiters: delims, Max: 4})
		require.Equal(t, outcome{frames: [][]byte{[]byte(wire[:4])}}, receive(t, c, single([]byte(wire)), true))
		require.Equal(t, 4+len(delims[0]), c.Max())
	}
}

func TestDelimiterEncodes(t *testing.T) {
	for _, test := range []struct {
		name          string
		delims        string // with blanks between
		keep          bool
		payload, want string
		err           error
	}{
		{"plain", "$$", false, "ab", "ab$$", nil},
		{"empty", "$$", false, "", "$$", nil},
		{"writes the first", "; \r\n", false, "ab", "ab;", nil},
		{"longest payload", "$$", false, "12345678", "12345678$$", nil},
		{"too long", "$$", false, "123456789", "", &codec.TooLongError{Length: 9, Max: 8}},
		{"holds one", "$$ #", false, "a#b$$", "", &codec.PayloadError{Length: 5, Delimiter: "#", End: 1}},
		{"makes an earlier one", "$$", false, "ab$", "", &codec.PayloadError{Length: 3, Delimiter: "$$", End: 2}},
		{"makes the earliest of two", "aba", false, "xab", "", &codec.PayloadError{Length: 3, Delimiter: "aba", End: 1}},
		{"makes a longer one", "b ab", false, "xa", "", &codec.PayloadError{Length: 2, Delimiter: "ab", End: 1}},
		{"makes the longest", "b ab xab", false, "xa", "", &codec.PayloadError{Length: 2, Delimiter: "xab", End: 0}},
		{"ends in half of one", "$# ;", false, "ab$", "ab$$#", nil},

		{"kept", "$$ #", true, "ab#", "ab#", nil},
		{"kept, nothing else", "$$ #", true, "$$", "$$", nil},
		{"kept, longest payload", "$$", true, "12345678$$", "12345678$$", nil},
		{"kept, too long", "$$", true, "123456789$$", "", &codec.TooLongError{Length: 9, Max: 8}},
		{"kept, holds another", "$$ #", true, "a#b#", "", &codec.PayloadError{Length: 4, Delimiter: "#", End: 1}},
		{"kept, overlaps", "$$", true, "a$$$", "", &codec.PayloadError{Length: 4, Delimiter: "$$", End: 1}},
		{"kept, missing", "$$ #", true, "ab$", "", &codec.PayloadError{Length: 3, Delimiter: "$$", End: 3}},
		{"kept, empty", "$$ #", true, "", "", &codec.PayloadError{Delimiter: "$$"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := codec.DelimiterOptions{Delimiters: strings.Split(test.delims, " "), Keep: test.keep, Max: 8}
			requireEncodes(t, codec.Delimiter(o), test.payload, test.want, test.err)
		})
	}
}

func TestDelimiterRefuses(t *testing.T) {
	for _, test := range []struct {
		o    codec.DelimiterOptions
		want string
	}{
		{codec.DelimiterOptions{}, "codec: no delimiters, there must be at least one"},
		{codec.DelimiterOptions{Delimiters: []string{"a", ""}}, `codec: delimiter "" of 0 bytes, it must have 1 to 16`},
		{codec.DelimiterOptions{Delimiters: []string{"0123456789abcdefg"}},
			`codec: delimiter "0123456789abcdefg" of 17 bytes, it must have 1 to 16`},
		{codec.DelimiterOptions{Delimiters: []string{"\r", "\r\n"}}, `codec: delimiter "\r" occurs in "\r\n" before its end`},
		{codec.DelimiterOptions{Delimiters: []string{"abcd", "bc"}}, `codec: delimiter "bc" occurs in "abcd" before its end`},
		{codec.DelimiterOptions{Delimiters: []string{"abab", "ab"}}, `codec: delimiter "ab" occurs in "abab" before its end`},
		{codec.DelimiterOptions{Delimiters: []string{"a"}, Max: -1}, "codec: max of -1 bytes, it must be at least 0"},
	} {
		require.EqualError(t, test.o.Validate(), test.want)
		require.PanicsWithValue(t, test.want, func() { codec.Delimiter(test.o) })
	}
	for _, delims := range [][]string{{"\r\n", "\n"}, {"\n", "\r\n"}, {"aa"}, {"a", "a"}, {"ab", "ba"}, {"0123456789abcdef"}} {
		require.NoError(t, codec.DelimiterOptions{Delimiters: delims}.Validate(), delims)
	}
	require.Equal(t, codec.DefaultMax+2, codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"a", "bb"}}).Max())
	require.Equal(t, math.MaxInt, codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"a"}, Max: math.MaxInt}).Max())
}

// TestDelimiterOwnsItsOptions changes the list that a codec was made of.
func TestDelimiterOwnsItsOptions(t *testing.T) {
	o := codec.DelimiterOptions{Delimiters: []string{"a", "bb"}}
	c := codec.Delimiter(o)
	require.Equal(t, []string{"a", "bb"}, o.Delimiters)
	o.Delimiters[0] = "x"
	_, n, _, err := c.Decode([]byte("a"), 0)
	require.Equal(t, []any{1, nil}, []any{n, err})
}

// TestDelimiterAgainstModel decodes bytes of so few kinds that delimiters, and what looks like them, are frequent.
func TestDelimiterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawDelimiter(t)
		c := codec.Delimiter(o)
		wire := abc(0, 60).Draw(t, "wire")
		require.Equal(t, modelDelimiter(o, wire), requireSplitInvariant(t, c, wire, cut(t, wire), true))
	})
}

// TestDelimiterInverse encodes any payload. Either what comes out decodes to it, or no frame could carry it.
func TestDelimiterInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawDelimiter(t)
		c := codec.Delimiter(o)
		payload, dst := abc(0, 10).Draw(t, "payload"), bytesOf(0, 3).Draw(t, "dst")
		frame := bytes.Clone(payload)
		if !o.Keep {
			frame = append(frame, o.Delimiters[0]...)
		}
		want := modelDelimiter(o, frame)
		possible := want.err == nil && len(want.frames) == 1 && bytes.Equal(want.frames[0], payload)

		got, err := c.AppendFrame(dst, payload)
		require.Equal(t, possible, err == nil, "%v", err)
		if err == nil {
			require.Equal(t, string(dst)+string(frame), string(got))
			return
		}
		require.Equal(t, dst, got)
		switch err := err.(type) {
		case *codec.TooLongError:
			require.Greater(t, err.Length, uint64(o.Max))
		case *codec.PayloadError:
			require.Equal(t, len(payload), err.Length)
			require.True(t, strings.HasPrefix(string(frame[min(err.End, len(frame)):]), err.Delimiter) || err.End == len(payload))
		}
	})
}

// drawDelimiter draws options that are valid.
func drawDelimiter(t *rapid.T) codec.DelimiterOptions {
	delim := rapid.Map(abc(1, 4), func(b []byte) string { return string(b) })
	return rapid.Custom(func(t *rapid.T) codec.DelimiterOptions {
		return codec.DelimiterOptions{
			Delimiters: rapid.SliceOfN(delim, 1, 4).Draw(t, "delimiters"),
			Keep:       rapid.Bool().Draw(t, "keep"),
			Max:        rapid.IntRange(1, 10).Draw(t, "max"),
		}
	}).Filter(func(o codec.DelimiterOptions) bool { return o.Validate() == nil }).Draw(t, "options")
}

// abc draws bytes of three kinds.
func abc(least, most int) *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.SampledFrom([]byte("abc")), least, most)
}

// modelDelimiter is what a Delimiter has to make of wire, in the plainest way: it looks at ever more bytes until a
// delimiter ends there, or none can come any more that leaves at most o.Max bytes before it.
func modelDelimiter(o codec.DelimiterOptions, wire []byte) (want outcome) {
	begins := func(s string) bool { // a delimiter
		for _, delim := range o.Delimiters {
			if strings.HasPrefix(delim, s) {
				return true
			}
		}
		return false
	}
	tooLong := &codec.TooLongError{Length: uint64(o.Max) + 1, Max: o.Max, AtLeast: true}
	for rest := string(wire); rest != ""; {
		length, size := -1, 0
		for have := 1; have <= len(rest) && length < 0; have++ {
			possible := have <= o.Max
			for start := range have { // backwards, so that the longest delimiter stays
				start = have - 1 - start
				for _, delim := range o.Delimiters {
					if rest[start:have] == delim {
						length, size = start, len(delim)
					}
				}
				possible = possible || start <= o.Max && begins(rest[start:have])
			}
			if !possible {
				want.err = tooLong
				return want
			}
		}
		if length < 0 {
			want.err = &codec.TruncatedError{Have: len(rest), Need: len(rest) + 1}
			return want
		}
		if length > o.Max {
			want.err = tooLong
			return want
		}
		end := length
		if o.Keep {
			end += size
		}
		want.frames = append(want.frames, []byte(rest[:end]))
		rest = rest[length+size:]
	}
	return want
}

// requireEncodes encodes payload, and decodes it again if that is no error.
func requireEncodes(t *testing.T, c codec.Codec, payload, frame string, want error) {
	t.Helper()
	dst := append(make([]byte, 0, 64), "before"...)
	got, err := c.AppendFrame(dst, []byte(payload))
	if want != nil {
		require.Equal(t, want, err, "%q", payload)
		require.Equal(t, dst, got)
		require.Equal(t, make([]byte, 58), dst[6:cap(dst)], "bytes behind dst changed")
		return
	}
	require.NoError(t, err, "%q", payload)
	require.Equal(t, "before"+frame, string(got))
	require.Equal(t, outcome{frames: [][]byte{[]byte(payload)}}, receive(t, c, [][]byte{got[6:]}, true))
}
