// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

func FuzzFixed(f *testing.F) {
	for _, v := range vectors(f) {
		if v.codec == "fixed" {
			f.Add(v.number(f, "n", 0), slices.Concat(v.reads...), 1)
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
	for _, v := range vectors(f) {
		if v.codec == "len" {
			o := v.lengthField(f)
			f.Add(o.Offset, o.Size, o.LittleEndian, o.Adjust, o.Strip, o.Max, slices.Concat(v.reads...), 1)
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

func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		"raw", "fixed:16", "fixed:1GiB", "len:4,max=64KiB", "length",
		"length:size=4,offset=0,adjust=0,strip=0,order=big,max=1MiB", "length:order=little,adjust=-4", "line:max=1",
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
