// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 3, docs/course/03-framing.md: what a stream keeps of what was sent, and a server of frames,
// three ways.
package main

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// frames are a byte with the length and so many bytes.
var frames = codec.LengthPrefix(1, 256)

const wire = "\x03how\x02do\x03you"

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	fmt.Fprintln(w, "send 4, 3 and 4 bytes, recv(64):", pieces([]string{wire[:4], wire[4:7], wire[7:]}, 64))
	fmt.Fprintln(w, "send 11 bytes, recv(4):         ", pieces([]string{wire}, 4))
	fmt.Fprintln(w)
	study.Row(w, "", "all in one piece", "byte by byte")
	for _, way := range ways {
		server := servers[way]()
		study.Row(w, way, ask(server.Addr, len(wire)), ask(server.Addr, 1))
		server.Stop()
	}
}

// pieces returns how many bytes each recv brings, of what was sent before the first.
func pieces(sends []string, max int) (received []int) {
	a, b := study.Pair()
	defer unix.Close(b)
	for _, s := range sends {
		study.Check(study.SendAll(a, []byte(s)))
	}
	study.Arrived(b, len(wire))
	unix.Close(a)
	for {
		s := study.Recv(b, max)
		if s == "" {
			return received
		}
		received = append(received, len(s))
	}
}

// ask sends the frames in pieces and returns the frames of the answer.
func ask(addr string, piece int) string {
	c := study.Dial(addr)
	defer c.Close()
	for i := 0; i < len(wire); i += piece {
		fmt.Fprint(c, wire[i:i+piece])
	}
	study.Check(c.CloseWrite())
	var answers []string
	for frame, err := range codec.NewReader(c, frames).Frames() {
		study.Check(err)
		answers = append(answers, string(frame))
	}
	return strings.Join(answers, ", ")
}
