// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

func TestParse(t *testing.T) {
	for spec, want := range map[string]codec.Codec{
		"raw":                   codec.Raw(),
		"fixed:1":               codec.Fixed(1),
		"fixed:64KiB":           codec.Fixed(64 << 10),
		"len:1":                 codec.LengthPrefix(1, codec.DefaultMax),
		"len:8,max=64":          codec.LengthPrefix(8, 64),
		"len:4,max=1GiB":        codec.LengthPrefix(4, 1<<30),
		"length":                codec.LengthField(codec.LengthFieldOptions{}),
		"length:size=2,strip=2": codec.LengthPrefix(2, 0),
		"length:size=4,offset=0,adjust=0,strip=0,order=big,max=1MiB": codec.LengthField(codec.LengthFieldOptions{}),
		"length:max=64KiB,order=little,strip=3,adjust=-3,offset=1,size=2": codec.LengthField(codec.LengthFieldOptions{
			Size: 2, Offset: 1, Adjust: -3, Strip: 3, LittleEndian: true, Max: 64 << 10,
		}),
		"length:adjust=7":          codec.LengthField(codec.LengthFieldOptions{Adjust: 7}),
		"varint":                   codec.Varint(0),
		"varint:max=64KiB":         codec.Varint(64 << 10),
		"line":                     codec.Line(0),
		"line:max=80":              codec.Line(80),
		"netstring":                codec.Netstring(0),
		"netstring:max=1":          codec.Netstring(1),
		"delim:hex=00":             codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"\x00"}}),
		"delim:hex=0d0a+0A,max=80": codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"\r\n", "\n"}, Max: 80}),
		"delim:keep,hex=0d0A+3b":   codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"\r\n", ";"}, Keep: true}),
	} {
		got, err := codec.Parse(spec)
		require.NoError(t, err, spec)
		require.Equal(t, want, got, spec)
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		formats = "want raw or fixed:N or len:N[,max=S] or length:size=4,offset=0,adjust=0,strip=0,order=big|little,max=1MiB" +
			" or varint[:max=S] or line[:max=S] or delim:hex=0d0a+0a[,max=S][,keep] or netstring[:max=S]"
		pairs = "is not pairs of hexadecimal digits, with + between delimiters, like 0d0a+0a"
		aSize = "is not a whole number of bytes, KiB, MiB or GiB, like 65536 or 64KiB"
	)
	for spec, want := range map[string]string{
		"":                     `codec: no codec is named "", ` + formats,
		"lines":                `codec: no codec is named "lines", ` + formats,
		"LEN:4":                `codec: no codec is named "LEN", ` + formats,
		" raw":                 `codec: no codec is named " raw", ` + formats,
		"len=4":                `codec: no codec is named "len=4", ` + formats,
		"raw:":                 `codec: nothing after the colon of "raw:", want raw`,
		"raw:1":                `codec: raw takes no options, not "1"`,
		"fixed":                `codec: fixed:N with N = "": it ` + aSize,
		"fixed:":               `codec: nothing after the colon of "fixed:", want fixed:N`,
		"fixed:x":              `codec: fixed:N with N = "x": it ` + aSize,
		"fixed:-1":             `codec: fixed:N with N = "-1": it ` + aSize,
		"fixed:0":              `codec: fixed frames of 0 bytes, they must have at least 1`,
		"len":                  `codec: len:N with N = "": it ` + aSize,
		"len:max=5":            `codec: len:N with N = "max=5": it ` + aSize,
		"len:0":                `codec: length field of 0 bytes, it must have 1 to 8`,
		"len:9":                `codec: length field of 9 bytes, it must have 1 to 8`,
		"len:4,max=3":          `codec: max of 3 bytes, it must be at least the 4 of the header`,
		"len:4,max=0":          `codec: max of 0 bytes, it must be at least the 4 of the header`,
		"len:4,":               `codec: unknown key "", want max`,
		"len:4,strip=4":        `codec: unknown key "strip", want max`,
		"len:4,max=8,max=8":    `codec: key "max" is given twice`,
		"length:":              `codec: nothing after the colon of "length:", want length:size=4,offset=0,adjust=0,strip=0,order=big|little,max=1MiB`,
		"length:4":             `codec: unknown key "4", want size, offset, adjust, strip, order, max`,
		"length:size":          `codec: key "size" has no value, want size=VALUE`,
		"length:size=":         `codec: size="" ` + aSize,
		"length:size=0":        `codec: length field of 0 bytes, it must have 1 to 8`,
		"length:size=1,size=2": `codec: key "size" is given twice`,
		"length:size=4,":       `codec: unknown key "", want size, offset, adjust, strip, order, max`,
		"length:offset=-1":     `codec: offset="-1" ` + aSize,
		"length:adjust=--1":    `codec: adjust="--1" ` + aSize,
		"length:adjust=+1":     `codec: adjust="+1" ` + aSize,
		"length:order=Big":     `codec: order="Big" is neither big nor little`,
		"length:max=1.5MiB":    `codec: max="1.5MiB" ` + aSize,
		"length:max=1=2":       `codec: max="1=2" ` + aSize,
		"varint:":              `codec: nothing after the colon of "varint:", want varint[:max=S]`,
		"varint:64":            `codec: unknown key "64", want max`,
		"line:max":             `codec: key "max" has no value, want max=VALUE`,
		"line:max=x":           `codec: max="x" ` + aSize,
		"netstring:max=1,":     `codec: unknown key "", want max`,
		"delim":                `codec: no delimiters, there must be at least one`,
		"delim:keep":           `codec: no delimiters, there must be at least one`,
		"delim:0a":             `codec: unknown key "0a", want hex, max, keep`,
		"delim:hex":            `codec: key "hex" has no value, want hex=VALUE`,
		"delim:hex=":           `codec: delimiter "" of 0 bytes, it must have 1 to 16`,
		"delim:hex=0a+":        `codec: delimiter "" of 0 bytes, it must have 1 to 16`,
		"delim:hex=0":          `codec: hex="0" ` + pairs,
		"delim:hex=0a,0d":      `codec: unknown key "0d", want hex, max, keep`,
		"delim:hex=0a+xy":      `codec: hex="0a+xy" ` + pairs,
		"delim:hex=0d+0d0a":    `codec: delimiter "\r" occurs in "\r\n" before its end`,
		"delim:hex=0a,hex=0d":  `codec: key "hex" is given twice`,
		"delim:hex=0a,keep=1":  `codec: key "keep" takes no value`,
		"delim:keep,keep":      `codec: key "keep" is given twice`,
	} {
		c, err := codec.Parse(spec)
		require.EqualError(t, err, want, spec)
		require.Nil(t, c, spec)
	}
}

// A max of 0 in a spec is one: only frames without content pass.
func TestParseMaxOfZero(t *testing.T) {
	for _, spec := range []string{
		"varint:max=0", "line:max=0", "netstring:max=0", "delim:hex=0a,max=0", "delim:hex=0a+3b,max=0", "delim:hex=0d0a+0a,max=0",
	} {
		c, err := codec.Parse(spec)
		require.NoError(t, err)
		wire, err := c.AppendFrame(nil, nil)
		require.NoError(t, err)
		want := outcome{frames: [][]byte{{}, {}}}
		require.Equal(t, want, requireSplitInvariant(t, c, slices.Concat(wire, wire), [][]byte{wire, wire}, true), spec)

		_, err = c.AppendFrame(nil, []byte("1"))
		require.Equal(t, &codec.TooLongError{Length: 1, Max: 0}, err, spec)
		var tooLong *codec.TooLongError // in netstrings the length "1", else the first byte of a payload
		_, _, _, err = c.Decode([]byte("1"), 0)
		require.ErrorAs(t, err, &tooLong, spec)
	}
}
