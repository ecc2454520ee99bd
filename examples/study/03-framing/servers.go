// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

var servers = map[string]func() *study.Server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

func loop() *study.Server {
	return study.Loop(func(c int) {
		for {
			length, err := recvAll(c, 1)
			if err == io.EOF { // between two frames: the client has asked everything
				return
			}
			study.Check(err)
			payload, err := recvAll(c, int(length[0]))
			study.Check(err)
			study.Check(study.SendAll(c, append(length, bytes.ToUpper(payload)...)))
		}
	})
}

// recvAll receives n bytes, with as many calls as it takes. It is what sendall is for sending, and Python has no such
// method. A peer that ends before the first byte is io.EOF.
func recvAll(fd, n int) ([]byte, error) {
	buf := make([]byte, n)
	for have := 0; have < n; {
		more, _, err := unix.Recvfrom(fd, buf[have:], 0)
		switch {
		case err != nil:
			return nil, err
		case more == 0 && have == 0:
			return nil, io.EOF
		case more == 0:
			return nil, fmt.Errorf("the peer ended after %d of %d bytes", have, n)
		}
		have += more
	}
	return buf, nil
}

func goroutines() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		in, out := codec.NewReader(c, frames), codec.NewWriter(c, frames)
		for frame, err := range in.Frames() {
			study.Check(err)
			study.Check(out.WriteFrame(bytes.ToUpper(frame)))
			study.Check(out.Flush())
		}
	})
}

func react() *study.Server {
	answer := reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, frame []byte) error {
		return c.Send(frames, bytes.ToUpper(frame))
	}))
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return answer, nil }, nil)
}
