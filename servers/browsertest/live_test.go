// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e

package browsertest_test

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// framed starts a server of frames with a 2-byte length.
func framed(t *testing.T, args ...string) *server {
	t.Helper()
	return start(t, append([]string{"frames", "-codec", "len:2", "-loops", "2", "-listen", "tcp://127.0.0.1:0", "-inspect", ":0"}, args...)...)
}

// A client is a connection to the server.
type client struct {
	*net.TCPConn
	t   *testing.T
	row string // the selector of its row
}

func (s *server) dial() client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	require.NoError(s.t, err)
	require.NoError(s.t, c.SetDeadline(time.Now().Add(4*patience)))
	s.t.Cleanup(func() { c.Close() })
	return client{c.(*net.TCPConn), s.t, fmt.Sprintf(`.conn[title$="← %s"]`, c.LocalAddr())}
}

func (c client) send(p ...byte) {
	c.t.Helper()
	_, err := c.Write(p)
	require.NoError(c.t, err)
}

// choose clicks on a client's row.
func (p *tab) choose(c client) {
	p.t.Helper()
	p.do(chromedp.Click(c.row, chromedp.ByQuery))
	p.until("the row is chosen", `document.querySelector(%q).ariaSelected === "true"`, c.row)
}

// Sockets that listen are told apart from connections, which come, are named by who they are, and go.
func TestConnectionsComeAndGo(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	p.says(".socket", `^tcp `+s.address+`, passive, 0 accepted`)
	require.Equal(t, 2, value[int](p, `document.querySelectorAll(".loop").length`))
	p.says("#who", `No connection yet .*nc `+strings.Replace(s.address, ":", " ", 1))
	before, gone := s.dial(), s.dial()
	for _, c := range []client{before, gone} {
		p.says(c.row, c.LocalAddr().String()+`, accepted, open`)
	}
	p.says("#status", "2 connections")
	gone.Close()
	p.says(gone.row, "accepted, closed")
	p.choose(before)
	p.says("#who", `local port `+strings.Split(s.address, ":")[1]+` .*remote port `+strings.Split(before.LocalAddr().String(), ":")[1])
	p.says("#who", "accepted here")
}

// When more end at once than is recorded, none is shown as open for ever.
func TestManyEndAtOnce(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	var all []client
	for range 1500 {
		all = append(all, s.dial())
	}
	p.says("#status", "1500 connections")
	p.until("rows are full", `document.querySelectorAll('.conn[data-state="open"]').length === 200`)
	p.says("#more", "^1300 more")
	for _, c := range all {
		c.Close()
	}
	p.says("#status", "live, 0 connections")
	p.until("none is open", `document.querySelectorAll('.conn[data-state="open"]').length === 0`)
}

// The bytes of a chosen connection gather into a frame, read by read.
func TestBytesGatherIntoFrames(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	c := s.dial()
	frame := "\x00\x05hello"
	c.send(frame[0])
	p.until("it is there", `document.querySelector(%q)`, c.row)
	p.choose(c)
	p.says(".says", `^1 byte came in 1 read\. Of the next frame 1 byte is here; the decoder needs 2 to go on\.`)
	for i := 1; i < len(frame)-1; i++ {
		c.send(frame[i])
		p.says(".says", fmt.Sprintf(`^%d bytes came in %d reads\. Of the next frame %d bytes are here;`, i+1, i+1, i+1))
	}
	p.says(".says", "needs 7 to go on")
	require.Equal(t, 6, value[int](p, `document.querySelectorAll(".strip .read").length`))
	require.Equal(t, "partial frame: 6 bytes, 7 needed", value[string](p, `document.querySelector(".strip .partial").textContent`))
	require.Zero(t, value[int](p, `document.querySelectorAll(".strip .frame").length`))

	c.send('o', 0, 1, '!', 0)
	p.says(".says", `^11 bytes came in 7 reads and made 2 frames\. Of the next frame 1 byte is here;`)
	require.Equal(t, []string{"frame of 7 bytes, payload 5", "frame of 3 bytes, payload 1"},
		value[[]string](p, `[...document.querySelectorAll(".strip .frame")].map((f) => f.textContent)`))
	p.says("#story", `handler took a frame of 7 bytes, payload 5`)

	// Too many bytes for a cell each are three: taken, here, and awaited.
	c.send(append([]byte{200}, make([]byte, 100)...)...)
	p.says(".says", `Of the next frame 102 bytes are here; the decoder needs 202 to go on\.`)
	require.Equal(t, []string{"cell consumed", "cell", "cell awaited"},
		value[[]string](p, `[...document.querySelectorAll(".strip .cell")].map((c) => c.getAttribute("class"))`))
}

// A client that does not read has its buffer fill and its reading stopped, until it reads.
func TestReadingStops(t *testing.T) {
	s := framed(t, "-high-water", "8KiB")
	p := open(t, s.page, desk)
	c := s.dial()
	ended := make(chan error, 1)
	go func() {
		frame := append([]byte{0x80, 0}, make([]byte, 1<<15)...)
		for range 512 {
			if _, err := c.Write(frame); err != nil {
				ended <- err
				return
			}
		}
		ended <- c.CloseWrite()
	}()
	p.says(c.row, "not read")
	p.choose(c)
	p.says(".meters .stopped", "reading stops: output above high water")
	p.until("output waits", `parseInt(document.querySelectorAll(".meter-value")[1].innerText) > 0`)
	p.picture("stopped")
	go func() { _, _ = io.Copy(io.Discard, c) }()
	require.NoError(t, <-ended)
	p.says(c.row, "accepted, closed")
	p.until("nothing waits", `document.querySelectorAll(".meter-value")[1].innerText === "0 B"`)
}

// The story of a connection that does more than is recorded says so, or its reader would take it for all.
func TestTooMuchToRecord(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	c := s.dial()
	go func() { _, _ = io.Copy(io.Discard, c) }()
	go func() {
		for { // until the test ends and the connection with it
			if _, err := c.Write([]byte{0, 2, 'o', 'k'}); err != nil {
				return
			}
		}
	}()
	p.until("it is there", `document.querySelector(%q)`, c.row)
	p.choose(c)
	p.says("#story", "too much at once: only what lasts was recorded")
}

// Time can be stopped, gone through event by event, and left again; the server goes on.
func TestStepping(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	c := s.dial()
	c.send(0, 2, 'o')
	p.until("it is there", `document.querySelector(%q)`, c.row)
	p.choose(c)
	p.says(".says", `^3 bytes`)
	p.do(chromedp.Click("#pause", chromedp.ByID))
	p.says("#status", "paused")
	c.send('k')
	_, err := io.ReadFull(c, make([]byte, 6)) // the server has answered
	require.NoError(t, err)
	require.Equal(t, "3 bytes came in 1 read. Of the next frame 3 bytes are here; the decoder needs 4 to go on.", value[string](p, `document.querySelector(".says").innerText`))

	var seen []string
	eventually(t, "the last byte is gone through", func() bool { // its events arrive when they do
		p.do(chromedp.Click("#step", chromedp.ByID))
		p.drawn()
		if at := value[string](p, `document.querySelector('#story [aria-current="true"]')?.innerText ?? ""`); at != "" && !slices.Contains(seen, at) {
			seen = append(seen, at)
		}
		return len(seen) == 4
	})
	for i, kind := range []string{"reported readable", "read 1 byte,", "handler took a frame of 4 bytes", "wrote 6 of 6 bytes"} {
		require.Contains(t, seen[i], kind)
	}
	p.says(".says", `^4 bytes came in 2 reads and made 1 frame\.`)
	p.press(kb.ArrowLeft, kb.ArrowLeft) // though a button has the focus
	p.says(".says", `^4 bytes came in 2 reads\. Of the next frame 4 bytes are here;`)
	p.do(chromedp.Click("#live", chromedp.ByID))
	p.says("#status", "^live")

	// Played slowly, the past comes again.
	p.do(chromedp.SetValue("#speed", "0.05", chromedp.ByID), chromedp.Evaluate(`document.getElementById("speed").dispatchEvent(new Event("change"))`, nil))
	p.says("#status", "playing, .* behind")
}

// All of it works with a keyboard alone.
func TestKeyboard(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	first, second := s.dial(), s.dial()
	first.send(0, 1)
	second.send(0, 3, 'a')
	for _, c := range []client{first, second} {
		p.until("both are there", `document.querySelector(%q)`, c.row)
	}
	chosen := func() string {
		return value[string](p, `document.querySelector('[aria-selected="true"]')?.title ?? ""`)
	}
	p.press(kb.ArrowDown)
	p.until("one is chosen", `document.querySelector('[aria-selected="true"]')`)
	one := chosen()
	p.press(kb.ArrowDown)
	p.until("the other is chosen", `document.querySelector('[aria-selected="true"]')?.title !== %q`, one)
	require.NotEqual(t, one, chosen())
	require.Equal(t, chosen(), value[string](p, `document.activeElement.title`), "what is chosen has the focus")
	p.press(kb.ArrowUp)
	p.until("and back", `document.querySelector('[aria-selected="true"]')?.title === %q`, one)

	p.press(" ")
	p.says("#status", "paused")
	p.press(kb.ArrowLeft)
	p.until("a step back", `document.querySelector('#story [aria-current="true"]')`)
	span := value[string](p, `document.getElementById("span").innerText`)
	p.press("+")
	p.until("less time", `document.getElementById("span").innerText !== %q`, span)
	p.press("l")
	p.says("#status", "^live")

	p.press("?")
	p.until("the keys are told", `document.getElementById("keys").open`)
	require.Equal(t, value[int](p, `document.querySelectorAll("#legend li").length`), value[int](p, `document.querySelectorAll("#keys .marks dd").length`), "each mark is explained")
	p.press(kb.Escape)
	p.until("and no more", `!document.getElementById("keys").open`)

	port := strings.Split(second.LocalAddr().String(), ":")[1]
	p.press(append([]string{"/"}, strings.Split(":"+port, "")...)...)
	p.until("only the other is shown", `document.querySelectorAll(".conn").length === 1 && document.querySelector(%q)`, second.row)
	p.press(kb.Escape, kb.Escape)
	p.until("none is chosen", `!document.querySelector('[aria-selected="true"]')`)

	var visited []string
	for range 30 { // by the tab key to everything that can be used
		p.press(kb.Tab)
		visited = append(visited, value[string](p, `document.activeElement.id || document.activeElement.className`))
	}
	for _, id := range []string{"back", "pause", "step", "live", "speed", "wider", "closer", "help", "filter", "conn", "story"} {
		require.Contains(t, visited, id)
	}
}

// A mark that is clicked stops time there; kinds of marks can be left out.
func TestMarks(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	c := s.dial()
	c.send(0, 2, 'o', 'k')
	p.says("#story", `wrote 6 of 6 bytes`)
	p.until("it is there", `document.querySelector(%q)`, c.row)
	p.do(chromedp.Click("#pause", chromedp.ByID))
	p.press("-")
	p.says("#status", "paused")
	// Where the marks of the row are, left of the moment: look for one under the pointer.
	found := value[bool](p, `(() => {
		const canvas = document.querySelector(".scroller canvas"), box = canvas.getBoundingClientRect();
		const row = document.querySelector(%q).getBoundingClientRect();
		for (let x = box.right - 1; x > box.left; x--) {
			canvas.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: row.top + row.height * 0.37}));
			const tip = document.getElementById("tip");
			if (!tip.hidden && /read 4 bytes/.test(tip.innerText)) {
				canvas.dispatchEvent(new MouseEvent("click", {clientX: x, clientY: row.top + row.height * 0.37}));
				return true;
			}
		}
		return false;
	})()`, c.row)
	require.True(t, found, "no mark says that 4 bytes were read")
	p.says("#story", `^[\d.]+\s+read 4 bytes`)
	p.says(".says", `^4 bytes came in 1 read\.`)

	p.do(chromedp.Click("#live", chromedp.ByID))
	p.says("#story", "wrote 6")
	p.do(chromedp.Evaluate(`[...document.querySelectorAll("#legend label")].find((l) => l.innerText.includes("write")).click()`, nil))
	p.until("no writes are told", `!/wrote/.test(document.getElementById("story").innerText)`)
}

// The page loses a server that ends, and finds its successor.
func TestServerReplaced(t *testing.T) {
	s := framed(t)
	p := open(t, s.page, desk)
	s.kill()
	p.says("#status", "no answer, asking again")
	again := start(t, "echo", "-listen", "tcp://127.0.0.1:0", "-inspect", strings.TrimSuffix(strings.TrimPrefix(s.page, "http://"), "/"))
	p.says("#status", "^live")
	c := again.dial()
	c.send('h', 'i')
	p.until("what is new is shown", `document.querySelector(%q)`, c.row)
	p.choose(c)
	p.says(".says", `^2 bytes came in 1 read; the handler took them in 1 piece\.`)
}

// Where the kernel's buffer is full is a mark of its own: the demo's client that does not read has it full.
func TestWritesInPart(t *testing.T) {
	s := framed(t, "-demo", "40ms")
	p := open(t, s.page, desk)
	p.until("the kernel took a part", `document.querySelector('#story [data-mark="write part"]')`)
}

// On every screen the page fits, can be read, and shows something; the demo has it full of what can happen.
func TestScreens(t *testing.T) {
	s := framed(t, "-demo", "40ms")
	for _, on := range []screen{desk, {"desk-dark", 1440, 900, true}, {"laptop", 1100, 700, false}, {"phone", 390, 844, false}, {"phone-dark", 390, 844, true}} {
		t.Run(on.name, func(t *testing.T) {
			p := open(t, s.page, on)
			c := s.dial() // one that stays, among the demo's
			c.send(0, 5, 'h')
			p.until("it is there, beside some that have gone", `document.querySelector(%q) && document.querySelector('.conn[data-state="closed"]')`, c.row)
			p.do(chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).click()`, c.row), nil))
			p.says("#story", "partial frame: 3 bytes, 7 needed")
			p.says(".says", "needs 7 to go on")
			require.LessOrEqual(t, value[int](p, `document.scrollingElement.scrollWidth`), int(on.width), "it is wider than the screen")
			require.Greater(t, shades(t, p.picture(on.name)), 60, "the picture is blank")
			for _, selector := range []string{"#status", ".conn .tuple", ".loop .role", "#story .text", "#story .at", ".says", ".meter-name"} {
				require.GreaterOrEqual(t, value[float64](p, contrast, selector), 4.5, "%s is hard to read (WCAG 2.2, 1.4.3)", selector)
			}
		})
	}
}

// contrast is the ratio between an element's text and what is behind it, by WCAG's formula.
const contrast = `(() => {
	let e = document.querySelector(%q);
	const parse = (c) => { const g = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d"); g.fillStyle = c; g.fillRect(0, 0, 1, 1); return [...g.getImageData(0, 0, 1, 1).data]; };
	const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ink = light(parse(getComputedStyle(e).color));
	while (e && parse(getComputedStyle(e).backgroundColor)[3] < 255) e = e.parentElement;
	const paper = light(parse(getComputedStyle(e ?? document.body).backgroundColor));
	return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
})()`

// shades counts the colours of a picture, at every few pixels.
func shades(t *testing.T, data []byte) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	seen := map[[3]uint32]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 3 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			seen[[3]uint32{r, g, b}] = true
		}
	}
	return len(seen)
}
