// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// Exercise 1: after an edge, receive until the socket says EAGAIN. The last of the four calls brings nothing: that is
// what an edge costs when little has come.
func Example_drain() {
	a, b := study.Pair()
	defer unix.Close(a)
	defer unix.Close(b)
	study.Check(unix.SetNonblock(b, true)) // or the last recv would wait
	study.Check(study.SendAll(a, []byte("0123456789")))

	ep := study.Must(unix.EpollCreate1(0))
	defer unix.Close(ep)
	watch(ep, b, unix.EPOLLIN|unix.EPOLLET)
	events, total := 0, 0
	for total < 10 {
		study.Must(unix.EpollWait(ep, make([]unix.EpollEvent, 1), -1))
		events++
		for {
			n, _, err := unix.Recvfrom(b, make([]byte, 4), 0)
			if errors.Is(err, unix.EAGAIN) {
				fmt.Println("recv:", err)
				break
			}
			study.Check(err)
			fmt.Println("recv:", n)
			total += n
		}
	}
	fmt.Println("events:", events)
	// Output:
	// recv: 4
	// recv: 4
	// recv: 2
	// recv: resource temporarily unavailable
	// events: 1
}

// Exercise 2: a socket that has room is writable, and level-triggered epoll says so as often as it is asked: a loop that
// waits for EPOLLOUT without output spins.
func Example_writable() {
	for _, trigger := range []uint32{0, unix.EPOLLET} {
		a, b := study.Pair()
		ep := study.Must(unix.EpollCreate1(0))
		watch(ep, a, unix.EPOLLOUT|trigger)
		fmt.Println("events:", wait(ep), wait(ep), wait(ep))
		unix.Close(ep)
		unix.Close(a)
		unix.Close(b)
	}
	// Output:
	// events: 1 1 1
	// events: 1 0 0
}

// Exercise 3: the peer's end is readable, too, recv returns 0, and it stays so: who does not close spins.
func Example_end() {
	a, b := study.Pair()
	ep := study.Must(unix.EpollCreate1(0))
	defer unix.Close(ep)
	watch(ep, b, unix.EPOLLIN)

	unix.Close(a)
	for range 2 {
		fmt.Printf("events: %d, recv: %q\n", study.Must(unix.EpollWait(ep, make([]unix.EpollEvent, 1), -1)), study.Recv(b, 4))
	}
	unix.Close(b)
	fmt.Println("events:", wait(ep))
	// Output:
	// events: 1, recv: ""
	// events: 1, recv: ""
	// events: 0
}
