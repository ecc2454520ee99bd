// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

// The program of chapter 2, docs/course/02-readiness.md: a server that numbers who asks, three ways, and what epoll says
// of ten bytes.
package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	study.Row(w, "", "client 3 asks,", "then 1,", "then 2")
	for _, way := range ways {
		server := servers[way]()
		var clients []net.Conn
		for range 3 {
			clients = append(clients, study.Dial(server.Addr))
		}
		row := []string{way}
		for _, i := range []int{3, 1, 2} {
			fmt.Fprint(clients[i-1], "which number am I?")
			row = append(row, study.Answer(clients[i-1]))
		}
		study.Row(w, row...)
		for _, c := range clients {
			c.Close()
		}
		server.Stop()
	}

	fmt.Fprintln(w, "\nten bytes, recv(4) for each event")
	study.Row(w, "level-triggered", events(0))
	study.Row(w, "edge-triggered", events(unix.EPOLLET))
}

// events has ten bytes come, and one more when epoll has nothing to say, and receives at most four for an event.
func events(trigger uint32) string {
	a, b := study.Pair()
	defer unix.Close(a)
	defer unix.Close(b)
	ep := study.Must(unix.EpollCreate1(0))
	defer unix.Close(ep)
	watch(ep, b, unix.EPOLLIN|trigger)

	study.Check(study.SendAll(a, []byte("0123456789")))
	study.Arrived(b, 10)
	seen := receive(ep, b)

	study.Check(study.SendAll(a, []byte("!")))
	study.Arrived(b, 1)
	return seen + "; one byte more: " + receive(ep, b)
}

func receive(ep, fd int) string {
	var seen strings.Builder
	for wait(ep) > 0 {
		fmt.Fprintf(&seen, "%q ", study.Recv(fd, 4))
	}
	return seen.String() + "no event"
}

// wait asks for events and does not wait for any.
func wait(ep int) int { return study.Must(unix.EpollWait(ep, make([]unix.EpollEvent, 8), 0)) }
