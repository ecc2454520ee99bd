// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 7, docs/course/07-udp.md: datagrams, their borders and their ends, and a server that tells their
// lengths, three ways.
package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	a, b := pair()
	datagrams := []string{"four", "", "more than eight bytes"}
	for _, s := range datagrams {
		study.Check(unix.Send(a, []byte(s), 0))
	}
	for _, s := range datagrams {
		n, _, err := unix.Recvfrom(b, make([]byte, 8), 0)
		study.Check(err)
		fmt.Fprintf(w, "send %2d bytes, recv(8): %d\n", len(s), n)
	}
	unix.Close(b)
	study.Check(unix.Send(a, []byte("is there anybody?"), 0))
	_, _, err := unix.Recvfrom(a, make([]byte, 8), 0)
	fmt.Fprintln(w, "send to a port without a socket: no error, then recv:", err)
	unix.Close(a)

	fmt.Fprintln(w)
	study.Row(w, "", `"how do you do"`, `""`)
	for _, way := range ways {
		server := servers[way]()
		study.Row(w, way, ask(server.Addr, "how do you do"), ask(server.Addr, ""))
		server.Stop()
	}
}

// bound makes a datagram socket at a free port.
func bound() int {
	fd := study.Must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	study.Check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return fd
}

// pair makes two sockets that are connected to each other: connect sends nothing, it says whom send is for and whom recv
// is from.
func pair() (a, b int) {
	a, b = bound(), bound()
	study.Check(unix.Connect(a, study.Must(unix.Getsockname(b))))
	study.Check(unix.Connect(b, study.Must(unix.Getsockname(a))))
	return a, b
}

func ask(addr, question string) string {
	c := study.Must(net.Dial("udp", addr))
	defer c.Close()
	study.Must(c.Write([]byte(question)))
	study.Check(c.SetReadDeadline(time.Now().Add(time.Minute)))
	answer := make([]byte, 64)
	n := study.Must(c.Read(answer))
	return string(answer[:n])
}
