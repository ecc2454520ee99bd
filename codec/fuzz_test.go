// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/internal/conformance"
)

func FuzzFixed(f *testing.F) {
	for _, v := range conformance.All(f, ".") {
		if v.Codec == "fixed" {
			f.Add(v.Number(f, "n", 0), v.Wire(), 1)
		}
	}
	f.Fuzz(func(t *testing.T, size int, wire []byte, at int) {
		if size < 1 {
			t.Skip()
		}
		c := codec.Fixed(size)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		whole := len(wire) / size
		require.Len(t, got.frames, whole)
		require.Equal(t, string(wire[:whole*size]), string(encode(t, c, got.frames)))
	})
}

func FuzzLengthField(f *testing.F) {
	for _, v := range conformance.All(f, ".") {
		if v.Codec == "len" {
			o := v.LengthField(f)
			f.Add(o.Offset, o.Size, o.LittleEndian, o.Adjust, o.Strip, o.Max, v.Wire(), 1)
		}
	}
	f.Fuzz(func(t *testing.T, offset, size int, little bool, adjust, strip, limit int, wire []byte, at int) {
		o := codec.LengthFieldOptions{
			Offset: offset, Size: size, LittleEndian: little, Adjust: adjust, Strip: strip, Max: limit,
		}
		if size == 0 || limit == 0 || o.Validate() != nil {
			t.Skip()
		}
		c := codec.LengthField(o)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		require.Equal(t, modelLengthField(o, wire), got)

		if strip == 0 { // the payloads are the frames: encoding them gives the stream again
			require.True(t, bytes.HasPrefix(wire, encode(t, c, got.frames)))
		}
		if strip == offset+size {
			again := receive(t, c, [][]byte{encode(t, c, got.frames)}, true)
			require.Equal(t, outcome{frames: got.frames}, again)
		}
	})
}

func FuzzVarint(f *testing.F) {
	for _, v := range conformance.All(f, ".") {
		if v.Codec == "varint" {
			f.Add(1<<30, v.Wire(), 1)
		}
	}
	f.Fuzz(func(t *testing.T, limit int, wire []byte, at int) {
		if limit < 1 || limit > 1<<30 {
			t.Skip()
		}
		c := codec.Varint(limit)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		require.Equal(t, modelVarint(limit, wire), got)
		require.Equal(t, outcome{frames: got.frames}, receive(t, c, [][]byte{encode(t, c, got.frames)}, true))
	})
}

func FuzzNetstring(f *testing.F) {
	for _, wire := range []string{"5:hello,0:,", "12:hello", "00:,", "1:ab", "101:", "x"} {
		f.Add(100, []byte(wire), 1)
	}
	f.Fuzz(func(t *testing.T, limit int, wire []byte, at int) {
		if limit < 1 || limit > 1<<30 {
			t.Skip()
		}
		c := codec.Netstring(limit)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		require.Equal(t, modelNetstring(limit, wire), got)
		require.True(t, bytes.HasPrefix(wire, encode(t, c, got.frames))) // there is one way to write a netstring
	})
}

func FuzzLine(f *testing.F) {
	for _, v := range conformance.All(f, ".") {
		if v.Codec == "line" || v.Codec == "lines" {
			f.Add(v.Number(f, "max", conformance.Unlimited), v.Wire(), 1)
		}
	}
	f.Fuzz(func(t *testing.T, limit int, wire []byte, at int) {
		if limit < 1 {
			t.Skip()
		}
		c := codec.Line(limit)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		require.Equal(t, modelDelimiter(lines(limit), wire), got)
		for _, line := range got.frames {
			if !bytes.HasSuffix(line, []byte("\r")) { // another decoder may have left one, this encoder does not write it
				require.Equal(t, string(line)+"\n", string(encode(t, c, [][]byte{line})))
			}
		}
	})
}

func FuzzDelimiter(f *testing.F) {
	for _, v := range conformance.All(f, ".") {
		switch v.Codec {
		case "line", "delim", "any":
			o := v.Delimiter(f)
			f.Add(strings.Join(o.Delimiters, "|"), o.Keep, o.Max, v.Wire(), 1)
		}
	}
	f.Fuzz(func(t *testing.T, delims string, keep bool, limit int, wire []byte, at int) {
		o := codec.DelimiterOptions{Delimiters: strings.Split(delims, "|"), Keep: keep, Max: limit}
		if limit == 0 || len(o.Delimiters) > 4 || o.Validate() != nil {
			t.Skip()
		}
		c := codec.Delimiter(o)
		got := requireSplitInvariant(t, c, wire, halves(wire, at), true)
		require.Equal(t, modelDelimiter(o, wire), got)
		if keep { // the payloads are the frames
			require.True(t, bytes.HasPrefix(wire, encode(t, c, got.frames)))
		}
		for _, payload := range append(got.frames, wire) {
			if frame, err := c.AppendFrame(nil, payload); err == nil {
				require.Equal(t, outcome{frames: [][]byte{payload}}, receive(t, c, [][]byte{frame}, true))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		"raw", "fixed:16", "fixed:1GiB", "len:4,max=64KiB", "length",
		"length:size=4,offset=0,adjust=0,strip=0,order=big,max=1MiB", "length:order=little,adjust=-4", "line:max=1",
		"varint", "delim:hex=0d0a+0a,max=64KiB,keep", "netstring:max=0",
	} {
		f.Add(spec, []byte("\x00\x00\x00\x01a"))
	}
	f.Fuzz(func(t *testing.T, spec string, wire []byte) {
		c, err := codec.Parse(spec)
		if err != nil {
			require.Nil(t, c)
			require.Regexp(t, `^codec: `, err.Error())
			return
		}
		require.Positive(t, c.Max())
		for _, frame := range receive(t, c, [][]byte{wire}, true).frames {
			require.LessOrEqual(t, len(frame), max(c.Max(), len(wire)))
		}
		_, _ = c.AppendFrame(nil, wire)
	})
}

// halves cuts wire at a position made of at.
func halves(wire []byte, at int) [][]byte {
	at = int(uint(at) % uint(len(wire)+1))
	return [][]byte{wire[:at], wire[at:]}
}

func encode(t testing.TB, enc codec.Encoder, payloads [][]byte) (wire []byte) {
	for _, payload := range payloads {
		var err error
		wire, err = enc.AppendFrame(wire, payload)
		require.NoError(t, err)
	}
	return wire
}
