// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// Exercise 1: a server that takes one recv for one frame answers once, and what it answers depends on the network.
func Example_naive() {
	server := study.Loop(func(c int) {
		study.Arrived(c, len(wire)) // all are there, as they may be
		request := study.Recv(c, 64)
		study.Check(study.SendAll(c, []byte(request[:1]+strings.ToUpper(request[1:]))))
	})
	defer server.Stop()
	c := study.Dial(server.Addr)
	defer c.Close()
	fmt.Fprint(c, wire)
	fmt.Printf("%q\n", study.Answer(c))
	fmt.Printf("%q\n", study.Answer(c))
	// Output:
	// "\x03HOW\x02DO\x03YOU"
	// "the end"
}

// Exercise 2: the end inside a frame is an error, and the length says how much is missing.
func Example_truncated() {
	a, b := study.Pair()
	defer unix.Close(b)
	study.Check(study.SendAll(a, []byte("\x05he")))
	unix.Close(a)

	length, err := recvAll(b, 1)
	study.Check(err)
	_, err = recvAll(b, int(length[0]))
	fmt.Println(err)

	for _, err := range codec.NewReader(strings.NewReader("\x05he"), frames).Frames() {
		fmt.Println(err)
	}
	// Output:
	// the peer ended after 2 of 5 bytes
	// codec: stream ended inside a frame, after 3 bytes of at least 6
}

// Exercise 3: four bytes can announce 4 GiB. What is believed must have a limit, checked before anything is kept; and
// where nothing announces a length, the search for the end needs one.
func Example_hostile() {
	lengths := codec.LengthPrefix(4, 64<<10)
	_, _, _, err := lengths.Decode([]byte("\xff\xff\xff\xff"), 0)
	fmt.Println(err)

	lines := codec.Line(16)
	_, _, _, err = lines.Decode([]byte("a line that does not end"), 0)
	fmt.Println(err)
	// Output:
	// codec: frame of 4294967299 bytes exceeds the limit of 65536
	// codec: frame of at least 17 bytes exceeds the limit of 16
}
