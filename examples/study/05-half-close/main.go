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
		study.Row(w, way, count(counter.Addr), refuse(refuser.Addr))
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

// refuse sends more than the server reads, and receives the reply when the server has done with it.
func refuse(addr string) string {
	c := study.Connect(addr, 4096)
	defer unix.Close(c)
	study.Check(study.SendAll(c, make([]byte, 100)))

	hungUp(c)
	got := 0
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(c, buf, 0)
		got += n
		if errors.Is(err, unix.ECONNRESET) && got < reply {
			return "a part, then " + err.Error()
		}
		study.Check(err)
		if n == 0 {
			return fmt.Sprintf("%d bytes and the end", got)
		}
	}
}

// hungUp waits until the connection is reset, for at most Patience.
func hungUp(fd int) {
	p := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP come unasked
	_, err := unix.Poll(p, int(study.Patience.Milliseconds()))
	if err != unix.EINTR {
		study.Check(err)
	}
}
