/* Where the names come from: what Exchange and Outlook call their folders in each language, webmail
 * (Roundcube's translations, as WildDuck carries them), Gmail, mail programs (the table of
 * postalsys/imapflow), and the lists in published Dovecot configurations. Not each was seen on a
 * live server; one that is missing costs little: the folder keeps its name. What means two things
 * is left out: Spanish "Borrado" is a draft to some and a deleted message to others, English "Bin"
 * and "Bulk" are people's own folders.
 *
 * They are written as those programs spell them. Case is folded by box_name_alike(); accents are
 * not, since no program leaves them out. */
#include "transport/box_known.h"

#include "transport/box_name.h"

static const char *const sent[] = {
	"Sent",		       /* Dovecot, Thunderbird, Roundcube */
	"Sent Items",	       /* Exchange */
	"Sent Messages",       /* Apple Mail */
	"Sent Mail",	       /* Gmail, Pine */
	"sent-mail",	       /* Horde, Pine */
	"Gesendet",	       /* German: webmail */
	"Gesendete Elemente",  /* German: Exchange from 2013 */
	"Gesendete Objekte",   /* German: Exchange before, GMX */
	"Envoyés",	       /* French */
	"Éléments envoyés",    /* French: Exchange */
	"Objets envoyés",      /* French: IONOS */
	"Messages envoyés",    /* French: Gmail */
	"Enviados",	       /* Spanish, Portuguese */
	"Elementos enviados",  /* Spanish: Exchange */
	"Mensajes enviados",   /* Spanish */
	"Itens enviados",      /* Portuguese: Exchange */
	"Mensagens enviadas",  /* Portuguese */
	"Inviata",	       /* Italian */
	"Inviati",	       /* Italian */
	"Posta inviata",       /* Italian: Exchange */
	"Verzonden",	       /* Dutch */
	"Verzonden items",     /* Dutch: Exchange */
	"Verzonden berichten", /* Dutch */
	"Skickat",	       /* Swedish */
	"Skickade objekt",     /* Swedish: Exchange */
	"Sendt",	       /* Danish, Norwegian */
	"Sendt post",	       /* Danish */
	"Sendte elementer",    /* Norwegian: Exchange */
	"Sendt e-post",	       /* Norwegian: Outlook */
	"Lähetetyt",	       /* Finnish */
	"Lähetetyt viestit",   /* Finnish */
	"Wysłane",	       /* Polish */
	"Elementy wysłane",    /* Polish: Exchange */
	"Odeslané",	       /* Czech */
	"Odeslaná pošta",      /* Czech: Exchange */
	"Odoslané",	       /* Slovak */
	"Odoslaná pošta",      /* Slovak: Exchange */
	"Elküldött",	       /* Hungarian */
	"Elküldött elemek",    /* Hungarian: Exchange */
	"Trimise",	       /* Romanian */
	"Elemente trimise",    /* Romanian: Exchange */
	"Saadetud",	       /* Estonian */
	"Gönderilmiş Öğeler",  /* Turkish: Exchange */
	"Απεσταλμένα",	       /* Greek */
	"Отправленные",	       /* Russian */
	"Надіслані",	       /* Ukrainian */
	"Изпратени",	       /* Bulgarian */
	"נשלחו",	       /* Hebrew */
	"פריטים שנשלחו",       /* Hebrew: Exchange */
	"العناصر المرسلة",     /* Arabic: Exchange */
	"Đã gửi",	       /* Vietnamese */
	"送信済み",	       /* Japanese */
	"送信済みアイテム",    /* Japanese: Exchange */
	"送信済みメール",      /* Japanese: Gmail */
	"已发送",	       /* Chinese, simplified */
	"已发送邮件",	       /* the same: Exchange, Gmail */
	"寄件備份",	       /* Chinese, traditional */
	"보낸 편지함",	       /* Korean */
};

static const char *const drafts[] = {
	"Drafts",	  "Draft",  "Entwürfe",	 /* German */
	"Brouillons",				 /* French */
	"Borradores",				 /* Spanish */
	"Rascunhos",				 /* Portuguese */
	"Bozze",				 /* Italian */
	"Concepten",				 /* Dutch */
	"Utkast",				 /* Swedish, Norwegian */
	"Kladder",				 /* Danish */
	"Kladd",				 /* Norwegian */
	"Luonnokset",				 /* Finnish */
	"Kopie robocze",			 /* Polish */
	"Wersje robocze", "Szkice", "Rozepsané", /* Czech */
	"Koncepty",				 /* Czech and Slovak: Exchange */
	"Piszkozatok",				 /* Hungarian */
	"Ciorne",				 /* Romanian */
	"Mustandid",				 /* Estonian */
	"Taslaklar",				 /* Turkish */
	"Πρόχειρα",				 /* Greek */
	"Черновики",				 /* Russian */
	"Чернетки",				 /* Ukrainian */
	"Чернови",				 /* Bulgarian */
	"טיוטות",				 /* Hebrew */
	"مسودات",				 /* Arabic */
	"المسودات",	  "下書き",		 /* Japanese */
	"草稿",					 /* Chinese */
	"草稿箱",				 /* Chinese: webmail */
	"임시 보관함",				 /* Korean */
};

static const char *const trash[] = {
	"Trash",
	"Deleted Items",      /* Exchange */
	"Deleted Messages",   /* Apple Mail */
	"Papierkorb",	      /* German */
	"Gelöschte Elemente", /* German: Exchange from 2013 */
	"Gelöschte Objekte",  /* German: Exchange before */
	"Gelöscht",	      /* German: webmail */
	"Corbeille",	      /* French */
	"Éléments supprimés", /* French: Exchange */
	"Papelera",	      /* Spanish */
	"Elementos eliminados",
	"Lixeira",	      /* Portuguese (Brazil) */
	"Lixo",		      /* Portuguese */
	"Itens Excluídos",    /* Portuguese (Brazil): Exchange */
	"Itens Eliminados",   /* Portuguese: Exchange */
	"Cestino",	      /* Italian */
	"Posta eliminata",    /* Italian: Exchange */
	"Elementi eliminati", /* Italian: Apple */
	"Prullenbak",	      /* Dutch */
	"Verwijderde items",  /* Dutch: Exchange */
	"Papperskorg",	      /* Swedish */
	"Papperskorgen",      /* Swedish: Gmail */
	"Borttagna objekt",   /* Swedish: Exchange */
	"Papirkurv",	      /* Danish */
	"Papirkurven",	      /* Danish, Norwegian: Gmail */
	"Slettet post",	      /* Danish: Exchange */
	"Slettede elementer", /* Norwegian: Exchange */
	"Slettet",	      /* Norwegian */
	"Roskakori",	      /* Finnish */
	"Poistetut",	      /* Finnish: Exchange */
	"Kosz",		      /* Polish */
	"Elementy usunięte",  /* Polish: Exchange */
	"Koš",		      /* Czech */
	"Odstraněná pošta",   /* Czech: Exchange */
	"Kôš",		      /* Slovak */
	"Törölt elemek",      /* Hungarian: Exchange */
	"Kuka",		      /* Hungarian */
	"Elemente șterse",    /* Romanian: Exchange */
	"Prügikast",	      /* Estonian */
	"Silinmiş Öğeler",    /* Turkish: Exchange */
	"Çöp Kutusu",	      /* Turkish */
	"Κάδος",	      /* Greek */
	"Корзина",	      /* Russian */
	"Удаленные",	      /* Russian: Exchange */
	"Кошик",	      /* Ukrainian */
	"Видалені",	      /* Ukrainian: Exchange */
	"Кошче",	      /* Bulgarian */
	"אשפה",		      /* Hebrew */
	"פריטים שנמחקו",      /* Hebrew: Exchange */
	"العناصر المحذوفة",   /* Arabic: Exchange */
	"Thùng rác",	      /* Vietnamese */
	"ごみ箱",	      /* Japanese */
	"ゴミ箱",
	"削除済みアイテム", /* Japanese: Exchange */
	"已删除邮件",	    /* Chinese, simplified: Exchange */
	"已删除",
	"垃圾桶",     /* Chinese, traditional */
	"刪除的郵件", /* the same: Exchange */
	"휴지통",     /* Korean */
	"지운 편지함",
};

static const char *const junk[] = {
	"Junk",
	"Spam", /* and German, French, Italian, Dutch, Polish webmail */
	"Junk Email",
	"Junk E-mail", /* Exchange, in English and German */
	"Junk-E-Mail",
	"Junk Mail",
	"Bulk Mail",		    /* Yahoo */
	"Courrier indésirable",	    /* French: Exchange */
	"Indésirables",		    /* French */
	"Pourriel",		    /* French (Canada) */
	"Pourriels",		    /* French */
	"Correo no deseado",	    /* Spanish */
	"No deseado",		    /* Spanish */
	"Lixo Eletrônico",	    /* Portuguese (Brazil): Exchange */
	"E-mail de Lixo",	    /* Portuguese: Exchange */
	"Posta indesiderata",	    /* Italian */
	"Ongewenste e-mail",	    /* Dutch: Exchange */
	"Skräppost",		    /* Swedish */
	"Skräp",		    /* Swedish */
	"Uønsket e-mail",	    /* Danish: Exchange */
	"Uønsket e-post",	    /* Norwegian: Exchange */
	"Søppelpost",		    /* Norwegian */
	"Roskaposti",		    /* Finnish */
	"Wiadomości-śmieci",	    /* Polish: Exchange */
	"Nevyžádaná pošta",	    /* Czech */
	"Nevyžiadaná pošta",	    /* Slovak */
	"Levélszemét",		    /* Hungarian */
	"Rämpspost",		    /* Estonian */
	"Önemsiz E-posta",	    /* Turkish: Exchange */
	"Ανεπιθύμητα",		    /* Greek */
	"Ανεπιθύμητη αλληλογραφία", /* Greek: Exchange */
	"Спам",			    /* Russian, Ukrainian, Bulgarian */
	"Нежелательная почта",	    /* Russian: Exchange */
	"דואר זבל",		    /* Hebrew */
	"Thư rác",		    /* Vietnamese */
	"迷惑メール",		    /* Japanese */
	"垃圾邮件",		    /* Chinese, simplified */
	"垃圾郵件",		    /* Chinese, traditional */
	"스팸 편지함",		    /* Korean */
	"스팸메일함",
};

static const char *const archive[] = {
	"Archive",    /* Exchange Online, Apple Mail, French: Outlook */
	"Archives",   /* Thunderbird */
	"Archiv",     /* German, Czech */
	"Archivo",    /* Spanish */
	"Arquivo",    /* Portuguese */
	"Archivio",   /* Italian */
	"Archief",    /* Dutch */
	"Arkiv",      /* Swedish, Danish, Norwegian */
	"Arkisto",    /* Finnish */
	"Archiwum",   /* Polish */
	"Archív",     /* Slovak */
	"Archívum",   /* Hungarian */
	"Arhivă",     /* Romanian */
	"Arhiiv",     /* Estonian */
	"Arşiv",      /* Turkish */
	"Архив",      /* Russian, Bulgarian */
	"Архів",      /* Ukrainian */
	"アーカイブ", /* Japanese */
	"存档",	      /* Chinese, simplified */
	"封存",	      /* Chinese, traditional */
};

static const struct {
	enum box_use use;
	const char *const *names;
	unsigned count;
} uses[] = {
	{ BOX_USE_SENT, sent, ARRAY_COUNT(sent) },
	{ BOX_USE_DRAFTS, drafts, ARRAY_COUNT(drafts) },
	{ BOX_USE_TRASH, trash, ARRAY_COUNT(trash) },
	{ BOX_USE_JUNK, junk, ARRAY_COUNT(junk) },
	{ BOX_USE_ARCHIVE, archive, ARRAY_COUNT(archive) },
};

enum box_use box_known_use(struct text level, unsigned *rank)
{
	for (unsigned i = 0; i < ARRAY_COUNT(uses); i++)
		for (*rank = 0; *rank < uses[i].count; ++*rank)
			if (box_name_alike(level, text_of(uses[i].names[*rank])))
				return uses[i].use;
	return BOX_USE_NONE;
}
