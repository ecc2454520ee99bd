// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"github.com/quartet-go/quartet/codec"
)

func ExampleReader() {
	r := codec.NewReader(strings.NewReader("\x00\x05hello\x00\x00\x00\x05wor"), codec.LengthPrefix(2, 64))
	for {
		payload, err := r.ReadFrame()
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%q\n", payload)
	}
	// Output:
	// "hello"
	// ""
	// codec: stream ended inside a frame, after 5 bytes of at least 7
}

// A stream that ends where a frame does is no error.
func ExampleReader_Frames() {
	r := codec.NewReader(strings.NewReader("abcdef"), codec.Fixed(3))
	for payload, err := range r.Frames() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q\n", payload)
	}
	// Output:
	// "abc"
	// "def"
}

// A greeting of four bytes says how the rest is framed.
func ExampleReader_SetDecoder() {
	r := codec.NewReader(strings.NewReader("len2\x00\x05hello"), codec.Fixed(4))
	greeting, _ := r.ReadFrame()
	fmt.Printf("%s\n", greeting)

	r.SetDecoder(codec.LengthPrefix(2, 64))
	payload, err := r.ReadFrame()
	fmt.Printf("%q %v\n", payload, err)
	// Output:
	// len2
	// "hello" <nil>
}

// A greeting, and then a stream without frames, of which the Reader has bytes already.
func ExampleReader_Buffered() {
	src := strings.NewReader("GOON the rest is no frame")
	r := codec.NewReader(src, codec.Fixed(4))
	greeting, _ := r.ReadFrame()

	rest, err := io.ReadAll(io.MultiReader(strings.NewReader(string(r.Buffered())), src))
	fmt.Printf("%s:%s %v\n", greeting, rest, err)
	// Output:
	// GOON: the rest is no frame <nil>
}

func ExampleWriter() {
	w := codec.NewWriter(os.Stdout, codec.Fixed(6))
	for _, payload := range []string{"hello ", "world", "world\n"} {
		if err := w.WriteFrame([]byte(payload)); err != nil {
			fmt.Println(err)
		}
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// codec: payload of 5 bytes is outside 6..6
	// hello world
}

// A server that answers in batches: however many requests one Read brings, their answers leave in one Write, and none
// waits for a request that is still to come.
func ExampleWriter_Flush() {
	frames := codec.LengthPrefix(2, 64<<10)
	serve := func(c net.Conn) error {
		defer c.Close()
		out := codec.NewWriter(c, frames)
		in := codec.NewReader(flushing{c, out}, frames)
		for request, err := range in.Frames() {
			if err != nil {
				return err
			}
			if err := out.WriteFrame(append([]byte("re: "), request...)); err != nil {
				return err
			}
		}
		return out.Flush()
	}

	client, server := net.Pipe()
	go func() { _ = serve(server) }()
	answers := codec.NewReader(client, frames)
	if _, err := io.WriteString(client, "\x00\x01a\x00\x01b"); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		answer, err := answers.ReadFrame()
		fmt.Printf("%s %v, %d bytes came with it\n", answer, err, len(answers.Buffered()))
	}
	// Output:
	// re: a <nil>, 7 bytes came with it
	// re: b <nil>, 0 bytes came with it
}

// flushing flushes what was written before a Read that may block. A Reader reads only when it has no frame left.
type flushing struct {
	io.Reader
	out *codec.Writer
}

func (f flushing) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(p)
}

func ExampleFrames() {
	datagram := []byte("\x02hi\x05there\x02")
	for payload, err := range codec.Frames(datagram, codec.LengthPrefix(1, 0)) {
		fmt.Printf("%q %v\n", payload, err)
	}
	// Output:
	// "hi" <nil>
	// "there" <nil>
	// "" codec: stream ended inside a frame, after 1 bytes of at least 3
}

func ExampleSplitFunc() {
	frames := codec.LengthPrefix(1, 100)
	scanner := bufio.NewScanner(strings.NewReader("\x02hi\x00\xff"))
	scanner.Buffer(nil, frames.Max())
	scanner.Split(codec.SplitFunc(frames))
	for scanner.Scan() {
		fmt.Printf("%q\n", scanner.Bytes())
	}
	fmt.Println(scanner.Err())
	// Output:
	// "hi"
	// ""
	// codec: frame of 256 bytes exceeds the limit of 100
}
