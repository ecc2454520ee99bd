// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/quartet-go/quartet/codec"
)

// What a frame of 64 bytes costs in a stream that never runs dry: ns/frame. In the uneven rows half of the payloads have
// 32 bytes and half 96, in no order.
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
		{"fixed", codec.Fixed(64)},
		{"len4", codec.LengthPrefix(4, 0)},
		{"len2", codec.LengthPrefix(2, 0)},
		{"len8", codec.LengthPrefix(8, 0)},
		{"len4little", codec.LengthField(codec.LengthFieldOptions{Strip: 4, LittleEndian: true})},
		{"len4Uneven", codec.LengthPrefix(4, 0)},
		{"varint", codec.Varint(0)},
		{"netstring", codec.Netstring(0)},
		{"line", codec.Line(0)},
		{"delimiter", delimiters("\n")},
		{"delimiterCRLF", delimiters("\r\n")},
		{"delimiterAny", delimiters("\n", ";")},
	} {
		wire := stream64(b, test.c)
		if test.name == "len4Uneven" {
			wire = uneven64(b, test.c)
		}
		b.Run("by="+test.name, func(b *testing.B) {
			frames64(b, func() (bytes int) {
				for rest := wire; len(rest) > 0; {
					payload, n, _, err := test.c.Decode(rest, 0)
					if n == 0 || err != nil {
						b.Fatal(n, err)
					}
					bytes += len(payload)
					rest = rest[n:]
				}
				return bytes
			})
		})
		if _, ok := test.c.(codec.BatchDecoder); !ok {
			continue
		}
		b.Run("by="+test.name+"Batch", func(b *testing.B) {
			payloads := make([][]byte, 256)
			frames64(b, func() (bytes int) {
				for rest := wire; len(rest) > 0; {
					frames, n, _, err := codec.DecodeBatch(test.c, payloads, rest, 0)
					if n == 0 || err != nil {
						b.Fatal(n, err)
					}
					for _, payload := range payloads[:frames] {
						bytes += len(payload)
					}
					rest = rest[n:]
				}
				return bytes
			})
		})
	}

	lines, prefixed, fixed := stream64(b, codec.Line(0)), stream64(b, codec.LengthPrefix(4, 0)), stream64(b, codec.Fixed(64))
	b.Run("by=bareIndexByte", func(b *testing.B) {
		frames64(b, func() (sum int) {
			for rest := lines; len(rest) > 0; {
				n := bytes.IndexByte(rest, '\n')
				if n < 0 {
					b.Fatal(n)
				}
				sum += n
				rest = rest[n+1:]
			}
			return sum
		})
	})
	readSlice := bufio.NewReader(&endless{data: lines})
	b.Run("by=stdReadSlice", func(b *testing.B) {
		frames64(b, func() (bytes int) {
			for range frames {
				line, err := readSlice.ReadSlice('\n')
				if err != nil {
					b.Fatal(err)
				}
				bytes += len(line) - 1
			}
			return bytes
		})
	})
	for _, test := range []struct {
		name  string
		wire  []byte
		split bufio.SplitFunc
	}{
		{"Lines", lines, bufio.ScanLines},
		{"Fixed", fixed, func(data []byte, _ bool) (int, []byte, error) {
			if len(data) < 64 {
				return 0, nil, nil
			}
			return 64, data[:64], nil
		}},
		{"Len4", prefixed, func(data []byte, _ bool) (int, []byte, error) {
			if len(data) < 4 {
				return 0, nil, nil
			}
			n := 4 + int(binary.BigEndian.Uint32(data))
			if len(data) < n {
				return 0, nil, nil
			}
			return n, data[4:n], nil
		}},
	} {
		scanner := bufio.NewScanner(&endless{data: test.wire})
		scanner.Split(test.split)
		b.Run("by=stdScan"+test.name, func(b *testing.B) {
			frames64(b, func() (bytes int) {
				for range frames {
					if !scanner.Scan() {
						b.Fatal(scanner.Err())
					}
					bytes += len(scanner.Bytes())
				}
				return bytes
			})
		})
	}
	buf := make([]byte, 1<<10)
	full := bufio.NewReader(&endless{data: fixed})
	b.Run("by=stdReadFullFixed", func(b *testing.B) {
		frames64(b, func() (bytes int) {
			for range frames {
				n, err := io.ReadFull(full, buf[:64])
				if err != nil {
					b.Fatal(err)
				}
				bytes += n
			}
			return bytes
		})
	})
	header := bufio.NewReader(&endless{data: prefixed})
	b.Run("by=stdReadFullLen4", func(b *testing.B) {
		frames64(b, func() (bytes int) {
			for range frames {
				if _, err := io.ReadFull(header, buf[:4]); err != nil {
					b.Fatal(err)
				}
				n, err := io.ReadFull(header, buf[:binary.BigEndian.Uint32(buf)])
				if err != nil {
					b.Fatal(err)
				}
				bytes += n
			}
			return bytes
		})
	})
}

// frames is how many frames of 64 bytes a stream64 has, and an op of a benchmark that uses one.
const frames = 1 << 10

// frames64 measures decode, which decodes so many and returns the sum of their payloads' lengths.
func frames64(b *testing.B, decode func() int) {
	b.ReportAllocs()
	for b.Loop() {
		if n := decode(); n != 64*frames {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/frames, "ns/frame")
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
	for range frames {
		var err error
		if wire, err = enc.AppendFrame(wire, payload); err != nil {
			b.Fatal(err)
		}
	}
	return wire
}

// uneven64 returns as much of frames of 32 and of 96 bytes.
func uneven64(b *testing.B, enc codec.Encoder) (wire []byte) {
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(frames) {
		var err error
		if wire, err = enc.AppendFrame(wire, make([]byte, 32+64*(i%2))); err != nil {
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
