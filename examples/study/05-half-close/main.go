// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The program of chapter 5, docs/course/05-half-close.md: a request that ends with a shutdown, and a reply to one that
// was not read to its end, three ways.
package main

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

const reply = 32 << 10 // fits the server's send buffer, and not what the second client is ready to receive

func main() { study.Main(run) }

func run(w io.Writer, ways ...string) {
	study.Row(w, "", "request, shutdown", "request that is refused")
	for _, way := range ways {
		s := servers[way]
		counter, refuser := s.count(), s.refuse()
		resets := way != study.TheReactor
		study.Row(w, way, count(counter.Addr), refuse(refuser.Addr, resets))
		counter.Stop()
		refuser.Stop()
	}
}

// count says all it has to say, and then receives the answer.
func count(addr string) string {
	c := study.Dial(addr)
	defer c.Close()
	fmt.Fprint(c, "how do ")
	fmt.Fprint(c, "you do")
	study.Check(c.CloseWrite()) // shutdown(SHUT_WR)
	return string(study.Must(io.ReadAll(c)))
}

// refuse sends a part of its request, and the rest when the server has already replied. It receives the reply when
// nothing can change it any more: after the reset, if the server resets, and else when none has come within Patience.
func refuse(addr string, resets bool) string {
	c := study.Connect(addr, 4096)
	defer unix.Close(c)
	study.Check(study.SendAll(c, make([]byte, 100)))
	poll(c, unix.POLLIN, -1)
	failed := study.SendAll(c, make([]byte, 100)) // a reset is told once, perhaps here
	if resets {
		poll(c, 0, -1) // POLLERR and POLLHUP come unasked
	} else {
		poll(c, 0, int(study.Patience.Milliseconds()))
	}

	got := 0
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(c, buf, 0)
		if n > 0 {
			got += n
			continue
		}
		if failed == nil {
			failed = err
		}
		switch {
		case errors.Is(failed, unix.ECONNRESET) && got < reply:
			return "a part, then " + failed.Error()
		case failed != nil:
			return fmt.Sprintf("%d bytes, then %v", got, failed)
		}
		return fmt.Sprintf("%d bytes and the end", got)
	}
}

// poll waits for so many milliseconds for events, -1 for ever.
func poll(fd int, events int16, ms int) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(p, ms); err != unix.EINTR {
			study.Check(err)
			return
		}
	}
}
