// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience is for a whole test: ten thousand take half a minute on a machine that others use, too.
const patience = 5 * time.Minute

var program string // the built program

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chat")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "chat")
	args := []string{"build", "-o", program}
	if raceBuild() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func raceBuild() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// A server is the program, running.
type server struct {
	cmd  *exec.Cmd
	addr string
	log  *strings.Builder
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(program, append([]string{"-listen", "127.0.0.1:0"}, args...)...), log: new(strings.Builder)}
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.cmd.Stderr = s.log
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, s.cmd.Wait(), "%s", s.log)
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	s.addr = strings.TrimPrefix(strings.TrimSpace(line), "listening tcp ")
	return s
}

// peakMemory is the most that the process has had of memory, in bytes.
func (s *server) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	require.NoError(t, err)
	kib := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, kib)
	n, err := strconv.Atoi(string(kib[1]))
	require.NoError(t, err)
	return n << 10
}

// A person is a client.
type person struct {
	net.Conn
	in *bufio.Reader
}

// dial connects from the n-th person's own address; of one address there are not ports enough for all. A slow one has
// little room in its kernel, nor then has the server for it.
func (s *server) dial(n int, slow bool) (*person, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n/5000))}}
	if slow {
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) {
				err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10),
					unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536))
			})
			return err
		}
	}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	p := &person{c, bufio.NewReaderSize(c, 4<<10)}
	_ = c.SetDeadline(time.Now().Add(patience))
	return p, p.expect("* you are ")
}

// visit is dial for a test of its own.
func (s *server) visit(t *testing.T, nick string) *person {
	t.Helper()
	p, err := s.dial(0, false)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	p.ask(t, "/nick "+nick, "* you are "+nick)
	return p
}

// expect reads a line that begins so.
func (p *person) expect(prefix string) error {
	line, err := p.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		return fmt.Errorf("want %q, got %q, %w", prefix, line, err)
	}
	return nil
}

// ask sends a line and expects one that is the answer.
func (p *person) ask(t *testing.T, line, answer string) {
	t.Helper()
	_, err := fmt.Fprintln(p, line)
	require.NoError(t, err)
	got, err := p.in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, answer+"\n", got)
}

func TestCommands(t *testing.T) {
	s := start(t)
	anna, bert := s.visit(t, "anna"), s.visit(t, "bert")
	anna.ask(t, "hello?", "* nobody hears you, /join a room")
	anna.ask(t, "/who", "* nobody is with you, /join a room")
	anna.ask(t, "/join", `* no name of a room: ""`)
	anna.ask(t, "/join a b", `* no name of a room: "a b"`)
	anna.ask(t, "/nick bert", "* not renamed: somebody has that name")
	anna.ask(t, "/nick "+strings.Repeat("a", 33), fmt.Sprintf("* no name for you: %q", strings.Repeat("a", 33)))
	anna.ask(t, "/dance", `* no command: "/dance"`)
	anna.ask(t, "/join garden", "* you are in garden")
	anna.ask(t, "hello?", "anna: hello?")
	bert.ask(t, "/join kitchen", "* you are in kitchen")
	bert.ask(t, "/join garden", "* you are in garden")
	bert.ask(t, "hello", "bert: hello")
	require.NoError(t, anna.expect("bert: hello\n"))
	anna.ask(t, "a\rb", "* a line has no carriage return inside")
	anna.ask(t, strings.Repeat("x", maxLine), "anna: "+strings.Repeat("x", maxLine))
	require.NoError(t, bert.expect("anna: x"))
	anna.ask(t, strings.Repeat("x", maxLine+1), "* that is longer than 4096 bytes")
	anna.ask(t, "/join garden", "* you are in garden") // again changes nothing
	anna.ask(t, "/nick anne", "* you are anne")
	require.NoError(t, bert.Close())
	for {
		_, err := fmt.Fprintln(anna, "/who")
		require.NoError(t, err)
		line, err := anna.in.ReadString('\n')
		require.NoError(t, err)
		if line == "* 1 in garden, 0 lines missed by the slow: anne\n" {
			break
		}
	}
	s.visit(t, "bert").ask(t, "/join garden", "* you are in garden") // the name is free again
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-slow", "wait"}, {"-max-output", "0"}, {"room"}} {
		out, err := exec.Command(program, args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, 2, exit.ExitCode())
	}
}

// Thousands in one room, one in a hundred of them slow. The others get all that is said, in order. The slow miss lines,
// but whole ones, as many as the server says, and the server's memory knows its bounds.
func TestCrowdWithSlow(t *testing.T) {
	crowd := 10000
	if raceBuild() {
		crowd = 1000 // the detector knows no more than 8128 goroutines
	}
	slow := crowd / 100
	s := start(t, "-max-output", strconv.Itoa(16<<10))
	// The slow have enough before they come, or everybody would have to hear what it takes.
	people := s.gather(t, crowd, slow, "pub")
	speaker, keeper := people[crowd-1], s.visit(t, "keeper")
	keeper.ask(t, "/join pub", "* you are in pub")
	said := speaker.talk(t, 0, func(_, missed int) bool { return missed >= 3*slow })
	_, err := keeper.listen(func(lines int, _ string) bool { return lines == said })
	require.NoError(t, err)
	for _, p := range append(people[:slow:slow], speaker) {
		_, err := fmt.Fprintln(p, "/join hall")
		require.NoError(t, err)
	}
	require.NoError(t, speaker.expect("* you are in hall"))
	for present := 0; present < crowd; present, _ = speaker.who(t) { // they may still be on their way
	}

	all := listenAll(t, people[slow:crowd-1])
	rounds := 0
	said = speaker.talk(t, said, func(int, int) bool { rounds++; return rounds > 3 })
	speaker.say(t, lastWords)
	all(3*batch + 1)
	missed := 0
	for _, p := range people[:slow] {
		require.NoError(t, p.Conn.(*net.TCPConn).CloseWrite()) // and what waits for it comes
		n, err := p.listen(func(int, string) bool { return false })
		require.ErrorIs(t, err, io.EOF)
		missed += said + 1 - n
	}
	speaker.hear(t, lastWords)
	present, inHall := speaker.who(t)
	require.Equal(t, crowd-slow, present)
	_, inPub := keeper.who(t)
	require.Equal(t, missed, inHall+inPub)
	peak := s.peakMemory(t)
	t.Logf("%d lines, %d of them to %d people, %d missed; the server had %d MiB at most", said, 3*batch, crowd, missed, peak>>20)
	if !raceBuild() {
		require.Less(t, peak, 40<<20+crowd*8<<10) // were lines kept for everyone, it would be much more
	}
}

// Or the slow are dropped, and nobody else notices.
func TestCrowdDropsTheSlow(t *testing.T) {
	const crowd, slow = 500, 5
	s := start(t, "-max-output", strconv.Itoa(16<<10), "-slow", "drop")
	people := s.gather(t, crowd, slow, "hall")
	all := listenAll(t, people[slow:crowd-1])
	speaker := people[crowd-1]
	said := speaker.talk(t, 0, func(present, _ int) bool { return present == crowd-slow })
	speaker.say(t, lastWords)
	all(said + 1)
	for _, p := range people[:slow] {
		_, err := p.listen(func(int, string) bool { return false })
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

// gather connects a crowd that joins the hall, but for the slow, who come first, and the last: these join the room that
// is named.
func (s *server) gather(t *testing.T, crowd, slow int, room string) []*person {
	t.Helper()
	people := make([]*person, crowd)
	t.Cleanup(func() {
		for _, p := range people {
			if p != nil {
				p.Close()
			}
		}
	})
	inParallel(t, 64, crowd, func(i int) (err error) {
		if people[i], err = s.dial(i, i < slow); err != nil {
			return err
		}
		to := "hall"
		if i < slow || i == crowd-1 {
			to = room
		}
		if _, err = fmt.Fprintln(people[i], "/join "+to); err != nil {
			return err
		}
		return people[i].expect("* you are in " + to)
	})
	return people
}

// line is what the speaker says as the n-th.
func line(n int) string { return fmt.Sprintf("%d %s", n, strings.Repeat("la ", 200)) }

const (
	batch     = 16 // lines said at once
	lastWords = "good night"
)

// listen reads what is said until it has heard enough, or the connection ends, and returns how many lines that was. They
// must be whole and in order; between them only the slow may miss some.
func (p *person) listen(enough func(lines int, text string) bool) (lines int, err error) {
	for last := -1; ; {
		got, err := p.in.ReadSlice('\n')
		if err != nil && len(got) > 0 && err == io.EOF {
			return lines, fmt.Errorf("only %q of a line", got)
		}
		if err != nil {
			return lines, err
		}
		if got[0] == '*' {
			continue
		}
		_, text, _ := strings.Cut(strings.TrimSuffix(string(got), "\n"), ": ")
		if text != lastWords {
			number, _, _ := strings.Cut(text, " ")
			n, err := strconv.Atoi(number)
			if err != nil || n <= last || text != line(n) {
				return lines, fmt.Errorf("after line %d, got %q", last, got)
			}
			last = n
		}
		if lines++; enough(lines, text) {
			return lines, nil
		}
	}
}

// listenAll has people listen until the last words. What it returns waits for that and expects that each has heard so
// many lines.
func listenAll(t *testing.T, people []*person) func(lines int) {
	type heard struct {
		lines int
		err   error
	}
	results := make(chan heard, len(people))
	for _, p := range people {
		go func() {
			n, err := p.listen(func(_ int, text string) bool { return text == lastWords })
			results <- heard{n, err}
		}()
	}
	return func(lines int) {
		t.Helper()
		for range people {
			require.Equal(t, heard{lines, nil}, <-results)
		}
	}
}

// talk has p say lines from a number on, until it is enough, by those who are present and the lines that they missed. It
// returns the next number.
func (p *person) talk(t *testing.T, from int, enough func(present, missed int) bool) int {
	t.Helper()
	for ; !enough(p.who(t)); from += batch {
		for i := range batch {
			p.say(t, line(from+i))
		}
		for i := range batch {
			p.hear(t, line(from+i))
		}
	}
	return from
}

func (p *person) say(t *testing.T, text string) {
	t.Helper()
	_, err := fmt.Fprintln(p, text)
	require.NoError(t, err)
}

// hear expects that somebody says text.
func (p *person) hear(t *testing.T, text string) {
	t.Helper()
	got, err := p.in.ReadString('\n')
	require.NoError(t, err)
	_, got, _ = strings.Cut(strings.TrimSuffix(got, "\n"), ": ")
	require.Equal(t, text, got)
}

// who asks how many are in the room, and how many lines were missed.
func (p *person) who(t *testing.T) (present, missed int) {
	t.Helper()
	p.say(t, "/who")
	answer, err := p.in.ReadString('\n')
	require.NoError(t, err)
	_, rest, _ := strings.Cut(answer, " in ")
	_, rest, _ = strings.Cut(rest, ", ")
	_, err = fmt.Sscanf(answer, "* %d in", &present)
	require.NoError(t, err, answer)
	_, err = fmt.Sscanf(rest, "%d lines missed", &missed)
	require.NoError(t, err, answer)
	return present, missed
}

// inParallel calls fn with 0 to n-1 on some goroutines and expects that none fails.
func inParallel(t *testing.T, goroutines, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n; i += goroutines {
				if err := fn(i); err != nil {
					t.Errorf("person %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
