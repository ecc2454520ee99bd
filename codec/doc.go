// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

/*
Package codec cuts streams of bytes into frames, and makes frames of payloads.

TCP carries bytes, not messages: what one side writes in one piece arrives in pieces of any size. A codec is the
agreement on where one message ends and the next begins. Those here are pure functions of bytes. They read
nothing, keep nothing between calls and allocate nothing, so that one value serves all connections at once.

	reads       00 02 68 | 69 00 01 21
	frames      00 02 68 69 | 00 01 21
	payloads    "hi", "!"

Decode looks at the start of a buffer and says one of three things: here is a frame of n bytes, or nothing can be said
before there are need bytes, or this stream is broken. This program frames two messages, lets them arrive in
reads of five bytes and decodes them:

	package main

	import (
		"bytes"
		"fmt"
		"io"
		"log"

		"github.com/quartet-go/quartet/codec"
	)

	func main() {
		frames := codec.LengthPrefix(2, 64<<10)

		var wire []byte
		for _, message := range []string{"how do you do", "very well"} {
			var err error
			if wire, err = frames.AppendFrame(wire, []byte(message)); err != nil {
				log.Fatal(err)
			}
		}

		if err := receive(bytes.NewReader(wire), frames); err != nil {
			log.Fatal(err)
		}
	}

	// receive prints the frames of a stream until it ends.
	func receive(r io.Reader, dec codec.Decoder) error {
		var in []byte      // received and not yet decoded
		var seen, need int // of in: bytes looked at, and bytes to wait for
		var read [5]byte   // a small one, for the sake of the example
		for {
			n, err := r.Read(read[:])
			in = append(in, read[:n]...)
			for len(in) > 0 && len(in) >= need {
				payload, n, more, err := dec.Decode(in, seen)
				if err != nil {
					return err
				}
				if n == 0 {
					seen, need = len(in), more
					break
				}
				fmt.Printf("%s\n", payload)
				in, seen, need = in[n:], 0, 0
			}
			switch {
			case err == io.EOF && len(in) > 0:
				return &codec.TruncatedError{Have: len(in), Need: need}
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
		}
	}

It prints

	how do you do
	very well

There is a codec for each usual way to tell where a frame ends:

	Fixed                        all frames have one length
	LengthField, LengthPrefix    a header holds the length, in 1 to 8 bytes
	Varint                       the length comes first as protobuf writes it
	Netstring                    the length comes first in decimal digits
	Line                         at a line feed
	Delimiter                    at one of several strings
	Raw                          where the read ended

What holds for every codec:

  - Frames are bounded. A frame beyond the limit is an error as soon as its header is there, or no end can come within
    the limit, before anything is kept for it; a hostile length reserves nothing.
  - Frames and errors depend on the bytes alone, not on how reads cut them. (Raw, which makes a frame of what is
    there, is the exception.)
  - Waiting is cheap, however slowly a frame drips in. Told how many bytes it has seen, Decode looks again at no more
    than a delimiter's length; and where a header says how many to wait for, a caller that does calls it once more.
  - Empty frames are frames.
  - Too long, malformed and truncated are errors of different types, which carry the numbers. An error is final.
  - What a codec encodes, it decodes to the same payload.
  - A codec that cannot work is refused when it is made.

Payloads are not copied: they are parts of the buffer that was decoded, and live as long as its bytes are left alone.

Blocking code has Reader and Writer, users of bufio.Scanner SplitFunc, bytes at hand Frames, users of gnet's engine the
package gnetcodec, and the event loops of package reactor its own Frames.

Reading order of the files: codec.go (the contract), errors.go, fixed.go (the simplest codec), lengthfield.go,
varint.go, netstring.go, delimiter.go (the search), line.go, raw.go, batch.go (many frames with one call), parse.go
(codecs from a line of text), size.go; then reader.go, writer.go, split.go and frames.go.
*/
package codec
