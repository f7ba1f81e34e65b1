package privacy

// NoticeMedia is the notice that covers camera, microphone and screen. It is acknowledged before the first of them opens.
const NoticeMedia = "media"

// mediaEditions are its versions, the oldest first. Each says what the program does; when the program changes what it does with
// a call, a new edition comes first.
func mediaEditions() []edition {
	return []edition{{version: "2026-11-22-1", texts: map[string]wording{
		"en": {
			title: "Before your camera and microphone open",
			paragraphs: []string{
				"In a call, your picture, your voice and any screen that you share go to the other people in this call, and to nobody else. You choose what is on, and you can switch it off at any time.",
				"They travel encrypted between each browser and this server, which passes them on. The server does not record them, does not analyse them, and keeps none of them when they have passed.",
				"What is kept is that the call took place: when it rang, began and ended, how it ended, and who took part when. This goes after one year at the latest, or earlier when you are erased.",
				"Your network address is needed to carry the call. It is used while the call lasts and is written down nowhere.",
				"Others in the call could record what they see and hear with means of their own. You may refuse the call and go on writing instead.",
				"That you have read this is kept for three years, so that it can be shown that you were told.",
			},
		},
		"de": {
			title: "Bevor Kamera und Mikrofon angehen",
			paragraphs: []string{
				"In einem Anruf gehen Ihr Bild, Ihre Stimme und ein Bildschirm, den Sie teilen, an die anderen in diesem Anruf und an sonst niemanden. Sie bestimmen, was an ist, und können es jederzeit ausschalten.",
				"Sie werden verschlüsselt zwischen jedem Browser und diesem Server übertragen, der sie weitergibt. Der Server zeichnet nichts auf, wertet nichts aus und behält nichts davon.",
				"Gespeichert wird, dass der Anruf stattfand: wann er klingelte, begann und endete, wie er endete und wer wann teilnahm. Das wird spätestens nach einem Jahr gelöscht, oder früher, wenn Sie gelöscht werden.",
				"Ihre Netzwerkadresse wird gebraucht, um den Anruf zu übertragen. Sie wird benutzt, solange er dauert, und nirgends aufgeschrieben.",
				"Andere im Anruf könnten mit eigenen Mitteln aufzeichnen, was sie sehen und hören. Sie können den Anruf ablehnen und stattdessen weiter schreiben.",
				"Dass Sie dies gelesen haben, wird drei Jahre lang gespeichert, damit gezeigt werden kann, dass es Ihnen gesagt wurde.",
			},
		},
	}}}
}
