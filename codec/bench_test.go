// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"testing"

	"github.com/quartet-go/quartet/codec"
)

// What a frame of 64 bytes costs in a stream that never runs dry. An op is a frame.
//
// The std rows are how blocking code would do it: a bufio.Scanner with a split function, and io.ReadFull from a bufio.Reader
// for the header and for the payload. Both copy each frame at least once, as they own the buffer; codecs
// are given one.
func BenchmarkDecode64(b *testing.B) {
	littleEndian := codec.LengthField(codec.LengthFieldOptions{Strip: 4, LittleEndian: true})
	for _, test := range []struct {
		name string
		c    codec.Codec
	}{
		{"by=fixed", codec.Fixed(64)},
		{"by=len4", codec.LengthPrefix(4, 0)},
		{"by=len2", codec.LengthPrefix(2, 0)},
		{"by=len8", codec.LengthPrefix(8, 0)},
		{"by=len4little", littleEndian},
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

	b.Run("by=stdScanner", func(b *testing.B) {
		scanner := bufio.NewScanner(&endless{data: stream64(b, codec.LengthPrefix(4, 0))})
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
		b.ReportAllocs()
		for b.Loop() {
			if !scanner.Scan() || len(scanner.Bytes()) != 64 {
				b.Fatal(scanner.Err())
			}
		}
	})
	b.Run("by=stdReadFull", func(b *testing.B) {
		r := bufio.NewReader(&endless{data: stream64(b, codec.LengthPrefix(4, 0))})
		buf := make([]byte, 1<<10)
		b.ReportAllocs()
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
