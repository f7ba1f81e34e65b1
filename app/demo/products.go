package demo

// text is one sentence in the shop's two languages.
type text struct{ EN, DE string }

// in returns the text in a language; English is the measure.
func (t text) in(lang string) string {
	if lang == "de" {
		return t.DE
	}
	return t.EN
}

// product is one thing on the shelf. Cents are euro cents.
type product struct {
	Slug    string
	Name    text
	Line    text // one line below the name
	About   text
	Details []text
	Cents   int
}

var products = []product{
	{
		Slug: "kiri", Cents: 5800,
		Name:  text{"Kiri teapot", "Teekanne Kiri"},
		Line:  text{"Side-handled, 280 ml", "Seitengriff, 280 ml"},
		About: text{"A small pot for green tea. The handle sits at a right angle, so that one hand pours and the thumb holds the lid.", "Eine kleine Kanne für grünen Tee. Der Griff steht im rechten Winkel: Eine Hand gießt, der Daumen hält den Deckel."},
		Details: []text{
			{"Stoneware, unglazed outside", "Steinzeug, außen unglasiert"},
			{"Fine clay strainer, 240 holes", "Feines Tonsieb, 240 Löcher"},
			{"Rinse with water only", "Nur mit Wasser ausspülen"},
		},
	},
	{
		Slug: "dune", Cents: 3400,
		Name:  text{"Dune bowl", "Schale Dune"},
		Line:  text{"Matcha bowl, 12 cm", "Matcha-Schale, 12 cm"},
		About: text{"Wide enough for the whisk, narrow enough for two hands. The glaze runs a little differently on each one.", "Weit genug für den Besen, schmal genug für zwei Hände. Die Glasur läuft bei jeder ein wenig anders."},
		Details: []text{
			{"Sand glaze, food-safe", "Sandglasur, lebensmittelecht"},
			{"Dishwasher on the gentle programme", "Spülmaschine im Schonprogramm"},
			{"Thrown in Aarhus", "In Aarhus gedreht"},
		},
	},
	{
		Slug: "fjord", Cents: 2800,
		Name:  text{"Fjord cups", "Becher Fjord"},
		Line:  text{"Pair, 120 ml each", "Zwei Stück, je 120 ml"},
		About: text{"Two cups without handles. The thin rim cools the first sip; the thick foot keeps the rest warm.", "Zwei Becher ohne Henkel. Der dünne Rand kühlt den ersten Schluck, der dicke Fuß hält den Rest warm."},
		Details: []text{
			{"Porcelain, celadon glaze", "Porzellan, Seladonglasur"},
			{"Stack inside each other", "Ineinander stapelbar"},
			{"Dishwasher-safe", "Spülmaschinenfest"},
		},
	},
	{
		Slug: "ash", Cents: 4200,
		Name:  text{"Ash pitcher", "Gießkanne Ash"},
		Line:  text{"Pouring jug, 350 ml", "Kännchen, 350 ml"},
		About: text{"Pour the pot out into it, then fill the cups: every cup tastes the same. The ash of the kiln made its glaze.", "Erst die Kanne hineingießen, dann die Becher füllen: So schmeckt jeder gleich. Die Asche des Ofens gab die Glasur."},
		Details: []text{
			{"Wood-fired stoneware", "Holzgebranntes Steinzeug"},
			{"Does not drip", "Tropft nicht"},
			{"Each piece is different", "Jedes Stück ist anders"},
		},
	},
	{
		Slug: "pebble", Cents: 2400,
		Name:  text{"Pebble caddy", "Teedose Pebble"},
		Line:  text{"For 100 g of tea", "Für 100 g Tee"},
		About: text{"A jar that closes with its own weight. Light and air stay outside, and it fits a drawer.", "Eine Dose, die ihr eigenes Gewicht schließt. Licht und Luft bleiben draußen, und sie passt in eine Schublade."},
		Details: []text{
			{"Glazed inside, raw outside", "Innen glasiert, außen roh"},
			{"Beech inner lid", "Innendeckel aus Buche"},
			{"9 cm high", "9 cm hoch"},
		},
	},
	{
		Slug: "sencha", Cents: 1400,
		Name:  text{"Morning sencha", "Sencha am Morgen"},
		Line:  text{"Green tea, 80 g", "Grüner Tee, 80 g"},
		About: text{"First harvest from Kagoshima: grassy, a little sweet, awake. 70 degrees, one minute, three infusions.", "Erste Ernte aus Kagoshima: grasig, leicht süß, wach. 70 Grad, eine Minute, drei Aufgüsse."},
		Details: []text{
			{"Harvested in April", "Im April geerntet"},
			{"Organic, JP-BIO-005", "Bio, JP-BIO-005"},
			{"Best within three months of opening", "Nach dem Öffnen drei Monate gut"},
		},
	},
	{
		Slug: "hojicha", Cents: 1200,
		Name:  text{"Roasted hojicha", "Hojicha, geröstet"},
		Line:  text{"Roasted green tea, 100 g", "Gerösteter grüner Tee, 100 g"},
		About: text{"Roasted over charcoal until it smells of hazelnut. Almost no caffeine: a tea for the evening.", "Über Holzkohle geröstet, bis er nach Haselnuss duftet. Fast kein Koffein: ein Tee für den Abend."},
		Details: []text{
			{"Leaf and stem", "Blatt und Stängel"},
			{"95 degrees, 30 seconds", "95 Grad, 30 Sekunden"},
			{"From Kyoto", "Aus Kyoto"},
		},
	},
	{
		Slug: "oolong", Cents: 1800,
		Name:  text{"Mountain oolong", "Bergoolong"},
		Line:  text{"Oolong, 75 g", "Oolong, 75 g"},
		About: text{"Rolled leaves from 1,600 metres. Flowers first, cream later; the fifth infusion is still worth it.", "Gerollte Blätter aus 1.600 Metern Höhe. Erst Blüten, dann Sahne; auch der fünfte Aufguss lohnt noch."},
		Details: []text{
			{"Alishan, Taiwan", "Alishan, Taiwan"},
			{"Lightly oxidised", "Leicht oxidiert"},
			{"90 degrees, one minute", "90 Grad, eine Minute"},
		},
	},
}

func find(slug string) (product, bool) {
	for _, p := range products {
		if p.Slug == slug {
			return p, true
		}
	}
	return product{}, false
}

// words are the texts of the pages around the products.
var words = map[string]text{
	"tagline":    {"Tea and ceramics from the north", "Tee und Keramik aus dem Norden"},
	"shop":       {"Shop", "Laden"},
	"about":      {"About us", "Über uns"},
	"cart":       {"Cart", "Warenkorb"},
	"other":      {"Deutsch", "English"},
	"hero":       {"Things for a quiet quarter of an hour.", "Dinge für eine stille Viertelstunde."},
	"hero_text":  {"Pots, cups and bowls from four small workshops, and the teas that we drink from them ourselves.", "Kannen, Becher und Schalen aus vier kleinen Werkstätten, und die Tees, die wir selbst daraus trinken."},
	"ceramics":   {"On the shelf", "Im Regal"},
	"add":        {"Add to cart", "In den Warenkorb"},
	"quantity":   {"Quantity", "Anzahl"},
	"vat":        {"Including VAT, plus 4.90 € shipping", "Inklusive MwSt., zuzüglich 4,90 € Versand"},
	"also":       {"Goes well with it", "Passt gut dazu"},
	"empty":      {"Your cart is empty.", "Ihr Warenkorb ist leer."},
	"back":       {"Back to the shop", "Zurück zum Laden"},
	"remove":     {"Remove", "Entfernen"},
	"shipping":   {"Shipping", "Versand"},
	"total":      {"Total", "Summe"},
	"no_sale":    {"This is a demonstration: nothing is for sale and nothing is sent. Questions are answered in the chat.", "Dies ist eine Vorführung: Hier wird nichts verkauft und nichts verschickt. Fragen beantwortet der Chat."},
	"about_head": {"Two people and a kiln", "Zwei Menschen und ein Ofen"},
	"about_1":    {"Northlight began in 2011 with a wood kiln behind a former dairy. Today we show the work of four potters whom we know by name, and three teas that we can trace to the field.", "Northlight begann 2011 mit einem Holzofen hinter einer alten Molkerei. Heute zeigen wir die Arbeit von vier Töpferinnen und Töpfern, die wir beim Namen kennen, und drei Tees, die wir bis zum Feld verfolgen können."},
	"about_2":    {"Everything leaves our hands in straw and paper. If a piece arrives broken, write to us, and another one is on its way the same day.", "Alles verlässt unsere Hände in Stroh und Papier. Kommt etwas zerbrochen an, schreiben Sie uns, und am selben Tag ist Ersatz unterwegs."},
	"about_3":    {"The shop itself sets no cookie and keeps nothing in your browser. Even the cart lives in the address of the page.", "Der Laden selbst setzt kein Cookie und legt nichts in Ihrem Browser ab. Selbst der Warenkorb steht nur in der Adresse der Seite."},
	"missing":    {"This page does not exist.", "Diese Seite gibt es nicht."},
	"foot":       {"Northlight is a made-up shop that shows Parley's chat.", "Northlight ist ein erfundener Laden, der den Chat von Parley zeigt."},
}
