// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/quartet-go/quartet/codec"
)

// What a frame of 64 bytes costs in a stream that never runs dry. An op is a frame.
//
// The std rows are how blocking code would do it: a bufio.Scanner with a split function, io.ReadFull from a bufio.Reader
// for the header and for the payload, ReadSlice. They copy each frame at least once, as they own the buffer; codecs
// are given one. bareIndexByte is the least that a one-byte delimiter can cost in a buffer that is given.
func BenchmarkDecode64(b *testing.B) {
	delimiters := func(delims ...string) codec.Codec {
		return codec.Delimiter(codec.DelimiterOptions{Delimiters: delims})
	}
	for _, test := range []struct {
		name string
		c    codec.Codec
	}{
		{"by=fixed", codec.Fixed(64)},
		{"by=len4", codec.LengthPrefix(4, 0)},
		{"by=len2", codec.LengthPrefix(2, 0)},
		{"by=len8", codec.LengthPrefix(8, 0)},
		{"by=len4little", codec.LengthField(codec.LengthFieldOptions{Strip: 4, LittleEndian: true})},
		{"by=varint", codec.Varint(0)},
		{"by=netstring", codec.Netstring(0)},
		{"by=line", codec.Line(0)},
		{"by=delimiter", delimiters("\n")},
		{"by=delimiterCRLF", delimiters("\r\n")},
		{"by=delimiterAny", delimiters("\n", ";")},
		{"by=raw", codec.Raw()},
	} {
		b.Run(test.name, func(b *testing.B) {
			wire := stream64(b, test.c)
			b.ReportAllocs()
			rest := wire
			for b.Loop() {
				_, n, _, err := test.c.Decode(rest, 0)
				if n == 0 || err != nil {
					b.Fatal(n, err)
				}
				if rest = rest[n:]; len(rest) == 0 {
					rest = wire
				}
			}
		})
	}

	lines := stream64(b, codec.Line(0))
	b.Run("by=bareIndexByte", func(b *testing.B) {
		rest := lines
		for b.Loop() {
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				b.Fatal(n)
			}
			if rest = rest[n+1:]; len(rest) == 0 {
				rest = lines
			}
		}
	})
	b.Run("by=stdReadSlice", func(b *testing.B) {
		r := bufio.NewReader(&endless{data: lines})
		for b.Loop() {
			if line, err := r.ReadSlice('\n'); err != nil || len(line) != 65 {
				b.Fatal(line, err)
			}
		}
	})
	b.Run("by=stdScanLines", func(b *testing.B) {
		scanner := bufio.NewScanner(&endless{data: lines})
		for b.Loop() {
			if !scanner.Scan() || len(scanner.Bytes()) != 64 {
				b.Fatal(scanner.Err())
			}
		}
	})

	prefixed := stream64(b, codec.LengthPrefix(4, 0))
	b.Run("by=stdScanFixed", func(b *testing.B) {
		scanner := bufio.NewScanner(&endless{data: stream64(b, codec.Fixed(64))})
		scanner.Split(func(data []byte, _ bool) (int, []byte, error) {
			if len(data) < 64 {
				return 0, nil, nil
			}
			return 64, data[:64], nil
		})
		for b.Loop() {
			if !scanner.Scan() || len(scanner.Bytes()) != 64 {
				b.Fatal(scanner.Err())
			}
		}
	})
	b.Run("by=stdScanLen4", func(b *testing.B) {
		scanner := bufio.NewScanner(&endless{data: prefixed})
		scanner.Split(func(data []byte, _ bool) (int, []byte, error) {
			if len(data) < 4 {
				return 0, nil, nil
			}
			n := 4 + int(binary.BigEndian.Uint32(data))
			if len(data) < n {
				return 0, nil, nil
			}
			return n, data[4:n], nil
		})
		for b.Loop() {
			if !scanner.Scan() || len(scanner.Bytes()) != 64 {
				b.Fatal(scanner.Err())
			}
		}
	})
	b.Run("by=stdReadFullFixed", func(b *testing.B) {
		r := bufio.NewReader(&endless{data: stream64(b, codec.Fixed(64))})
		buf := make([]byte, 64)
		for b.Loop() {
			if _, err := io.ReadFull(r, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=stdReadFullLen4", func(b *testing.B) {
		r := bufio.NewReader(&endless{data: prefixed})
		buf := make([]byte, 1<<10)
		for b.Loop() {
			if _, err := io.ReadFull(r, buf[:4]); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, buf[:binary.BigEndian.Uint32(buf)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendFrame64(b *testing.B) {
	for _, test := range []struct {
		name string
		c    codec.Codec
	}{
		{"by=fixed", codec.Fixed(64)},
		{"by=len4", codec.LengthPrefix(4, 0)},
		{"by=len8", codec.LengthPrefix(8, 0)},
		{"by=varint", codec.Varint(0)},
		{"by=netstring", codec.Netstring(0)},
		{"by=line", codec.Line(0)},
	} {
		b.Run(test.name, func(b *testing.B) {
			payload, dst := make([]byte, 64), make([]byte, 0, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				if cap(dst)-len(dst) < 128 {
					dst = dst[:0]
				}
				var err error
				if dst, err = test.c.AppendFrame(dst, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// stream64 returns 64 KiB, more or less, of frames with payloads of 64 bytes.
func stream64(b *testing.B, enc codec.Encoder) (wire []byte) {
	payload := make([]byte, 64)
	for range 1 << 10 {
		var err error
		if wire, err = enc.AppendFrame(wire, payload); err != nil {
			b.Fatal(err)
		}
	}
	return wire
}

// endless reads data again and again.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}
