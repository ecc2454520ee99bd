// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/quartet-go/quartet/codec"
)

func ExampleFixed() {
	show(codec.Fixed(3), "61 62 63 64 65 66")
	// Output:
	// "abc"
	// "def"
}

func ExampleLengthPrefix() {
	show(codec.LengthPrefix(2, 64), "00 05 68 65 6c 6c 6f 00 00")
	// Output:
	// "hello"
	// ""
}

func ExampleLengthField() {
	c := codec.LengthField(codec.LengthFieldOptions{Offset: 1, Size: 2, Adjust: 1, Strip: 3})
	show(c, "ca 00 05 fe 68 65 6c 6c 6f")
	// Output:
	// "\xfehello"
}

// A length that counts the whole frame, itself included, in little-endian order.
func ExampleLengthField_countsItself() {
	c := codec.LengthField(codec.LengthFieldOptions{Adjust: -4, Strip: 4, LittleEndian: true})
	frame, err := c.AppendFrame(nil, []byte("hello"))
	fmt.Printf("% x %v\n", frame, err)
	show(c, "09 00 00 00 68 65 6c 6c 6f")
	// Output:
	// 09 00 00 00 68 65 6c 6c 6f <nil>
	// "hello"
}

func ExampleVarint() {
	show(codec.Varint(64), "05 68 65 6c 6c 6f 00")
	// Output:
	// "hello"
	// ""
}

// The delimiter is whichever comes first.
func ExampleDelimiter() {
	o := codec.DelimiterOptions{Delimiters: []string{"\r\n", ";"}, Max: 64}
	show(codec.Delimiter(o), "61 62 0d 0a 63 0d 3b 3b")
	o.Keep = true
	show(codec.Delimiter(o), "61 62 0d 0a 63 0d 3b 3b")
	// Output:
	// "ab"
	// "c\r"
	// ""
	// "ab\r\n"
	// "c\r;"
	// ";"
}

func ExampleLine() {
	c := codec.Line(64)
	show(c, "68 69 0d 0a 61 0d 62 0a 0a")
	frame, err := c.AppendFrame(nil, []byte("hi"))
	fmt.Printf("% x %v\n", frame, err)
	// Output:
	// "hi"
	// "a\rb"
	// ""
	// 68 69 0a <nil>
}

func ExampleNetstring() {
	show(codec.Netstring(64), "35 3a 68 65 6c 6c 6f 2c 30 3a 2c")
	// Output:
	// "hello"
	// ""
}

// What is wrong is known when the header is there.
func ExampleTooLongError() {
	_, _, _, err := codec.LengthPrefix(4, 64<<10).Decode([]byte{0x00, 0x01, 0x11, 0x6c}, 0)
	fmt.Println(err)

	var tooLong *codec.TooLongError
	if errors.As(err, &tooLong) {
		fmt.Println(tooLong.Length, tooLong.Max)
	}
	// Output:
	// codec: frame of 70000 bytes exceeds the limit of 65536
	// 70000 65536
}

// A byte that cannot stand where it does.
func ExampleMalformedError() {
	_, _, _, err := codec.Netstring(64).Decode([]byte("5:hello\n"), 0)
	fmt.Println(err)
	// Output:
	// codec: malformed frame, byte 0x0a at offset 7 where a comma is due
}

// No frame can carry this payload: it would be received as two lines.
func ExamplePayloadError() {
	frame, err := codec.Line(64).AppendFrame(nil, []byte("hello\nworld"))
	fmt.Println(len(frame), err)
	// Output:
	// 0 codec: payload of 11 bytes would end after 5, where the delimiter "\n" begins
}

// The stream ends two bytes into a header of four.
func ExampleTruncatedError() {
	rest := []byte{0x00, 0x00}
	_, _, need, _ := codec.LengthPrefix(4, 0).Decode(rest, 0)
	err := &codec.TruncatedError{Have: len(rest), Need: need}
	fmt.Println(err)
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// codec: stream ended inside a frame, after 2 bytes of at least 4
	// true
}

func ExampleRaw() {
	show(codec.Raw(), "61 62 63 64 65")
	show(codec.Raw(), "66 67")
	// Output:
	// "abcde"
	// "fg"
}

func ExampleParse() {
	c, err := codec.Parse("len:4,max=64KiB")
	fmt.Println(c.Max(), err)
	_, err = codec.Parse("len:9")
	fmt.Println(err)
	// Output:
	// 65536 <nil>
	// codec: length field of 9 bytes, it must have 1 to 8
}

func ExampleDecodeBatch() {
	payloads := make([][]byte, 64)
	frames, n, need, err := codec.DecodeBatch(codec.LengthPrefix(2, 0), payloads, []byte("\x00\x03abc\x00\x03def\x00\x03gh"), 0)
	fmt.Printf("%q of the first %d bytes; the next takes %d bytes; %v\n", payloads[:frames], n, need, err)
	// Output: ["abc" "def"] of the first 10 bytes; the next takes 5 bytes; <nil>
}

// show prints the frames of a stream drawn in hexadecimal.
func show(dec codec.Decoder, drawing string) {
	src, err := hex.DecodeString(strings.ReplaceAll(drawing, " ", ""))
	if err != nil {
		log.Fatal(err)
	}
	for len(src) > 0 {
		payload, n, _, err := dec.Decode(src, 0)
		if n == 0 || err != nil {
			log.Fatal("no frame: ", err)
		}
		fmt.Printf("%q\n", payload)
		src = src[n:]
	}
}
