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

// What a frame of 64 bytes costs in a stream that never runs dry and brings 64 KiB a Read at most. An op is a frame.
//
// stdReadFull copies the payload once more, which is what code without a Reader does; stdPeek does not, and is the best
// that a bufio.Reader can do. stdScanner is bufio's loop around our SplitFunc.
func BenchmarkReader64(b *testing.B) {
	frames := codec.LengthPrefix(4, 0)
	open := func(b *testing.B) io.Reader { return &endless{data: stream64(b, frames)} }

	b.Run("by=Reader", func(b *testing.B) {
		r := codec.NewReader(open(b), frames)
		b.ReportAllocs()
		for b.Loop() {
			if payload, err := r.ReadFrame(); err != nil || len(payload) != 64 {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=ReaderFrames", func(b *testing.B) {
		n := 0
		b.ReportAllocs()
		for payload, err := range codec.NewReader(open(b), frames).Frames() {
			if err != nil || len(payload) != 64 {
				b.Fatal(err)
			}
			if n++; n >= b.N {
				break
			}
		}
	})
	for _, size := range []int{4 << 10, 64 << 10} {
		suffix := map[int]string{4 << 10: "/buffer=4KiB", 64 << 10: "/buffer=64KiB"}[size]
		b.Run("by=stdScanner"+suffix, func(b *testing.B) {
			scanner := bufio.NewScanner(open(b))
			scanner.Buffer(make([]byte, size), frames.Max())
			scanner.Split(codec.SplitFunc(frames))
			b.ReportAllocs()
			for b.Loop() {
				if !scanner.Scan() || len(scanner.Bytes()) != 64 {
					b.Fatal(scanner.Err())
				}
			}
		})
		b.Run("by=stdReadFull"+suffix, func(b *testing.B) {
			r := bufio.NewReaderSize(open(b), size)
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
		b.Run("by=stdPeek"+suffix, func(b *testing.B) {
			r := bufio.NewReaderSize(open(b), size)
			b.ReportAllocs()
			for b.Loop() {
				header, err := r.Peek(4)
				if err != nil {
					b.Fatal(err)
				}
				n := 4 + int(binary.BigEndian.Uint32(header))
				if _, err := r.Peek(n); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Discard(n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What it costs to write such a frame. The std row is a bufio.Writer with as large a buffer.
func BenchmarkWriter64(b *testing.B) {
	payload := make([]byte, 64)
	b.Run("by=Writer", func(b *testing.B) {
		w := codec.NewWriter(io.Discard, codec.LengthPrefix(4, 0))
		b.ReportAllocs()
		for b.Loop() {
			if err := w.WriteFrame(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=stdWriter", func(b *testing.B) {
		w := bufio.NewWriterSize(io.Discard, 64<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Write(binary.BigEndian.AppendUint32(w.AvailableBuffer(), uint32(len(payload)))); err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
