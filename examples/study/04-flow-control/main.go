// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 4, docs/course/04-flow-control.md: a peer that does not read, and a server of downloads, three
// ways.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// A download is more than the kernel keeps for a connection.
const download = 32 << 20

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	partial(w)
	fmt.Fprintln(w)
	study.Row(w, "", "the second client", "the first, at last")
	for _, way := range ways {
		server := servers[way]()
		first := ask(server.Addr, download) // and does not read
		second := ask(server.Addr, 5)
		before := study.AnswerDuring(way, second)
		row := []string{way, before, fmt.Sprintf("%d bytes", all(first))}
		if before == "no answer yet" {
			row = append(row, "then the second: "+study.Answer(second))
		}
		study.Row(w, row...)
		first.Close()
		second.Close()
		server.Stop()
	}
}

// ask asks for so many bytes.
func ask(addr string, bytes int) *net.TCPConn {
	c := study.Dial(addr)
	study.Check(c.SetReadBuffer(64 << 10)) // or the kernel lets it grow
	fmt.Fprintln(c, bytes)
	return c
}

// all reads to the end.
func all(c net.Conn) int64 { return study.Must(io.Copy(io.Discard, c)) }

// partial sends to a peer that does not read.
func partial(w io.Writer) {
	a, b := study.Pair()
	defer unix.Close(a)
	study.Check(unix.SetNonblock(a, true))

	taken, room, err := fill(a)
	fmt.Fprintf(w, "%d bytes taken, then: %v\n", taken, err)
	fmt.Fprintln(w, "writable:", room)
	received := 0
	for received < taken {
		received += len(study.Recv(b, 1<<20))
	}
	fmt.Fprintln(w, "the peer receives them all; writable:", writable(a, -1))
	unix.Close(b)
}

// fill sends until the socket takes no more, and stays so: what the peer's kernel acknowledges makes room once more.
func fill(fd int) (taken int, room bool, err error) {
	p := make([]byte, 1<<20)
	for {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL)
		if err == nil {
			taken += n // perhaps less than len(p)
			continue
		}
		if room := writable(fd, 50); !room || !errors.Is(err, unix.EAGAIN) {
			return taken, room, err
		}
	}
}

// writable waits for so many milliseconds until the socket has room, -1 for ever.
func writable(fd, ms int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(p, ms)
		if err != unix.EINTR {
			study.Check(err)
			return n == 1
		}
	}
}
